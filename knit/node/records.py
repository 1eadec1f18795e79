"""What is installed, by Valkey key, packed: ten thousand records as objects would take three times the memory."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime

from knit.core.model.certificate import CertId
from knit.core.outputs import File, usual_mode
from knit.core.placement import Installed

_HEAD = struct.Struct("<32sqqqq")
_NONE = -1
_BETWEEN = "\0"
"""In no path that a value may name."""

_MODES = "\0"
"""Before files some of which have another mode than the usual one of their number."""

_MADE = "\1"
"""Before what the files were made of, as 64 hexadecimal digits, where that is not their own hash."""

_SPELLED = re.compile(r"([0-7]{1,4})?(/[^\0]*)", re.DOTALL)
"""A file: its path, behind its mode in octal digits where that is not the usual one."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799
"""Seconds of the years 1 and 9999, beyond which there are no instants."""

Fields = list[list[str] | str | int | None]
"""A record as JSON: hash, files, both dates in seconds, certificate id, generation, and what the files were made of.

Files are a list, the key's first; but of two there is first the chain's and then the key's, without a list. The last
member is there only where it is not the hash.
"""


class Records(MutableMapping[str, Installed]):
    """A dictionary whose values are packed; instants are kept in whole seconds, as certificates have them."""

    def __init__(self, packed: dict[str, bytes] | None = None) -> None:
        self._packed = {} if packed is None else packed

    def __getitem__(self, key: str) -> Installed:
        return unpack(self._packed[key])

    def __setitem__(self, key: str, record: Installed) -> None:
        self._packed[key] = pack(record)

    def __delitem__(self, key: str) -> None:
        del self._packed[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def paths(self, key: str) -> tuple[str, ...]:
        """The files, the key's first, cheaply: polls ask for nothing else."""
        text = self._packed[key][_HEAD.size :].decode()
        if text[0] in _MODES + _MADE:
            return unpack(self._packed[key]).paths
        return tuple(text.split(_BETWEEN))

    def packed(self, key: str) -> bytes:
        """The record as it is kept: the same bytes as long as it is the same."""
        return self._packed[key]

    def fields(self, key: str) -> Fields:
        """The record as JSON."""
        digest, *numbers = _HEAD.unpack_from(self._packed[key])
        not_before, not_after, cert_id, generation = numbers
        known = [None if number == _NONE else number for number in (cert_id, generation)]
        made_of, files = _spelled(self._packed[key])
        return [digest.hex(), *_as_fields(files), not_before, not_after, *known, *_given(made_of)]

    def take(self, key: str, fields: object) -> None:
        """The record from JSON. Raises ValueError for what is not a record."""
        self._packed[key] = _packed(fields)


def pack(record: Installed) -> bytes:
    """The record in some 170 bytes. Raises ValueError when it holds what no record of knit's holds."""
    return _packed(to_fields(record))


def to_fields(record: Installed) -> Fields:
    """The record as JSON."""
    dates = (int(record.not_before.timestamp()), int(record.not_after.timestamp()))
    files = [_spell(number, file) for number, file in enumerate(record.files)]
    known = (record.cert_id, record.generation)
    return [record.sha256, *_as_fields(files), *dates, *known, *_given(record.made_of)]


def from_fields(fields: object) -> Installed:
    """The record from JSON. Raises ValueError for what is not a record."""
    return unpack(_packed(fields))


def unpack(packed: bytes) -> Installed:
    """The record again."""
    digest, not_before, not_after, cert_id, generation = _HEAD.unpack_from(packed)
    made_of, files = _spelled(packed)
    return Installed(
        sha256=digest.hex(),
        files=tuple([_file(number, spelled) for number, spelled in enumerate(files)]),
        not_before=datetime.fromtimestamp(not_before, UTC),
        not_after=datetime.fromtimestamp(not_after, UTC),
        cert_id=None if cert_id == _NONE else CertId(cert_id),
        generation=None if generation == _NONE else generation,
        made_of=made_of,
    )


def _spelled(packed: bytes) -> tuple[str | None, list[str]]:
    """What the files were made of, and how they are spelled."""
    text, made_of = packed[_HEAD.size :].decode(), None
    if text.startswith(_MADE):
        made_of, text = text[1:65], text[65:]
    return made_of, text.removeprefix(_MODES).split(_BETWEEN)


def _given(made_of: str | None) -> list[str]:
    return [] if made_of is None else [made_of]


def _spell(number: int, file: File) -> str:
    return file.path if file.mode == usual_mode(number) else f"{file.mode:o}{file.path}"


def _file(number: int, spelled: str) -> File:
    mode, slash, path = spelled.partition("/")
    return File(slash + path, int(mode, 8) if mode else usual_mode(number))


def _as_fields(files: list[str]) -> list[list[str] | str]:
    # Two as an earlier knit reads and writes them.
    return [*reversed(files)] if len(files) == 2 else [files]


def _packed(fields: object) -> bytes:
    match fields:
        case [str(sha256), str(chain), str(key), int(not_before), int(not_after), cert_id, generation, *made]:
            files, dates = [key, chain], (not_before, not_after)
        case [str(sha256), [_, *_] as listed, int(not_before), int(not_after), cert_id, generation, *made]:
            files, dates = [str(file) for file in listed], (not_before, not_after)
        case _:
            raise ValueError("not the members of a record")
    if not all(_EARLIEST <= date <= _LATEST for date in dates):
        raise ValueError("a date beyond all calendars")
    if not all(map(_SPELLED.fullmatch, files)):
        raise ValueError("a path that is none")
    try:
        head = _HEAD.pack(_digest(sha256), *dates, _number(cert_id), _number(generation))
    except struct.error as error:
        raise ValueError(f"a number that is none: {error}") from None
    modes = _MODES if [file for file in files if file[0] != "/"] else ""
    return head + (_made(made) + modes + _BETWEEN.join(files)).encode()


def _made(made: list[object]) -> str:
    match made:
        case []:
            return ""
        case [str(made_of)] if _DIGEST.fullmatch(made_of):
            return _MADE + made_of
    raise ValueError("what the files were made of is no record of it")


def _digest(sha256: str) -> bytes:
    digest = bytes.fromhex(sha256)
    if len(digest) != 32:
        raise ValueError("a hash of another length")
    return digest


def _number(number: object) -> int:
    if number is None:
        return _NONE
    if not isinstance(number, int) or number < 0:
        raise ValueError("a number that is none")
    return number
