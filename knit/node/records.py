"""What is installed, by Valkey key, packed: ten thousand records as objects would take three times the memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime

from knit.core.model import CertId
from knit.core.placement import Installed

_HEAD = struct.Struct("<32sqqqq")
_NONE = -1
_BETWEEN = "\0"
"""In no path that a value may name."""


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

    def paths(self, key: str) -> tuple[str, str]:
        """The files of chain and key, cheaply: polls ask for nothing else."""
        return _paths(self._packed[key])


def pack(record: Installed) -> bytes:
    """The record in some 170 bytes. Raises ValueError when it holds what no record of knit's holds."""
    numbers = (
        int(record.not_before.timestamp()),
        int(record.not_after.timestamp()),
        _NONE if record.cert_id is None else record.cert_id,
        _NONE if record.generation is None else record.generation,
    )
    try:
        head = _HEAD.pack(bytes.fromhex(record.sha256), *numbers)
    except struct.error as error:
        raise ValueError(f"a number that is none: {error}") from None
    return head + f"{record.cert_path}{_BETWEEN}{record.key_path}".encode()


def unpack(packed: bytes) -> Installed:
    """The record again."""
    digest, not_before, not_after, cert_id, generation = _HEAD.unpack_from(packed)
    cert_path, key_path = _paths(packed)
    return Installed(
        sha256=digest.hex(),
        cert_path=cert_path,
        key_path=key_path,
        not_before=datetime.fromtimestamp(not_before, UTC),
        not_after=datetime.fromtimestamp(not_after, UTC),
        cert_id=None if cert_id == _NONE else CertId(cert_id),
        generation=None if generation == _NONE else generation,
    )


def _paths(packed: bytes) -> tuple[str, str]:
    cert_path, _, key_path = packed[_HEAD.size :].decode().partition(_BETWEEN)
    return cert_path, key_path
