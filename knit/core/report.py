"""What a node reports, as JSON: a head, and its certificates in parts, so that a change costs one part of them.

In Valkey a report is one hash: field `head`, and one field for each part that has certificates, by its number. The head
is a JSON object; a part is a JSON array of objects, compressed with zlib (RFC 1950). Members that are not known are
passed over. Whoever reads it must be ready for anything: a node may be in the hands of somebody else.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed, Failure, Step
from knit.core.text import clean
from knit.errors import Refused

VERSION: Final = 1
HEAD: Final = "head"
"""The field of the head."""

PARTS: Final = 256
"""Parts that certificates are spread over by their keys: of 10,000 each has about forty."""

MOST: Final = 500
"""Certificates in one part."""

HEAD_BYTES: Final = 16 * 1024
PART_BYTES: Final = 256 * 1024
"""As it is stored, compressed."""

OPENED_BYTES: Final = 4 * 1024 * 1024
"""A part's JSON."""

LONGEST: Final = timedelta(minutes=10)
"""Between two reports."""

LAPSE: Final = 3
"""Intervals without a report after which a node is silent, and its report is gone from Valkey."""

TEXTS: Final[Mapping[str, int]] = MappingProxyType(
    {"key": 1024, "place": 100, "name": 300, "serial": 64, "fingerprint": 64, "served_on": 300, "waits": 300}
    | {"error": 500, "output": 1000, "knit": 100}
)
"""Characters that each text may have."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_HEX: Final = re.compile(r"[0-9a-f]+")
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is reported of the node itself.

    `knit` is its version, `at` the time by its own clock, `interval` how far apart its reports are at most, `parts` the
    digest of each part that has certificates, by number.
    """

    name: str
    knit: str
    at: datetime
    interval: timedelta
    parts: Mapping[int, str]


def valid_name(name: str) -> bool:
    """Whether a node may be called so: letters, digits, `.`, `_` and `-`, as in host names."""
    return NAME.fullmatch(name) is not None


def part_of(key: str) -> int:
    """The part that a certificate is in, by its Valkey key."""
    return zlib.crc32(key.encode(errors="surrogateescape")) % PARTS


def digest(part: bytes) -> str:
    """What the head says of a part: the first 16 hexadecimal digits of its SHA-256."""
    return sha256(part).hexdigest()[:16]


def head_to_wire(head: Head) -> bytes:
    """The head as it is stored."""
    record = {
        "knit_report": VERSION,
        "name": head.name,
        "knit": head.knit,
        "at": _written(head.at),
        "interval": int(head.interval.total_seconds()),
        "parts": {str(number): head.parts[number] for number in sorted(head.parts)},
    }
    return _packed(record)


def part_to_wire(certificates: Iterable[Deployed]) -> bytes:
    """Certificates of one part, as they are stored. Raises Refused when there are more than a part can have."""
    records = [_record(one) for one in sorted(certificates, key=lambda one: one.key)]
    if len(records) > MOST:
        raise Refused(f"a report has room for {MOST} certificates in each of its {PARTS} parts, not for {len(records)}")
    return zlib.compress(_packed(records), 6)


def head_from_wire(raw: bytes, name: str) -> Head:
    """The head that the node of this name has written. Raises Refused with a sentence."""
    record = _Members(_parsed(raw, HEAD_BYTES), "its head")
    version = record.number("knit_report", 1, _LARGEST)
    if version != VERSION:
        raise Refused(f"its report is of version {version}; this knit reads version {VERSION}")
    if record.text("name") != name or not valid_name(name):
        raise Refused("its report bears another name than its key")
    parts = record.members("parts")
    if len(parts) > PARTS:
        raise Refused("its report has more parts than there can be")
    return Head(
        name=name,
        knit=record.text("knit"),
        at=record.instant("at"),
        interval=timedelta(seconds=record.number("interval", 1, int(LONGEST.total_seconds()))),
        parts={_number(number): _digest(found) for number, found in parts.items()},
    )


def part_from_wire(raw: bytes, number: int) -> tuple[Deployed, ...]:
    """The certificates of this part. Raises Refused with a sentence."""
    records = _parsed(_opened(raw), OPENED_BYTES)
    if not isinstance(records, list) or len(records) > MOST:
        raise Refused(f"a part of its report is no list of at most {MOST} certificates")
    found = tuple(_deployed(_Members(record, "a certificate in its report")) for record in records)
    if len({one.key for one in found}) < len(found) or any(part_of(one.key) != number for one in found):
        raise Refused("its report has a certificate twice, or in a part that it does not belong to")
    return found


def _record(one: Deployed) -> dict[str, object]:
    times = {"published": one.published_at, "written": one.written_at, "reloaded": one.reloaded_at}
    times |= {"served": one.served_at, "not_after": one.not_after}
    texts = {"key": one.key, "place": one.place, "name": one.name, "serial": one.serial}
    texts |= {"fingerprint": one.fingerprint, "served_on": one.served_on, "waits": one.waits}
    record: dict[str, object] = {
        **{name: _cut(name, found) for name, found in texts.items()},
        "cert_id": one.cert_id,
        "generation": one.generation,
        **{name: None if at is None else _written(at) for name, at in times.items()},
        "probed": one.probed or None,
        "orphaned": one.orphaned or None,
        "failure": None if one.failure is None else _failure_record(one.failure),
    }
    return {name: found for name, found in record.items() if found is not None}


def _failure_record(failure: Failure) -> dict[str, object]:
    record: dict[str, object] = {
        "step": failure.step.value,
        "error": _cut("error", failure.error),
        "output": _cut("output", failure.output) or None,
        "at": _written(failure.at),
        "next_try": None if failure.next_try is None else _written(failure.next_try),
        "rolled_back": failure.rolled_back or None,
        "generation": failure.generation,
    }
    return {name: found for name, found in record.items() if found is not None}


def _cut(name: str, found: str | None) -> str | None:
    """Keys are never cut: half a name names something else."""
    if found is None or name == "key" or (found.isprintable() and len(found) <= TEXTS[name]):
        return found
    return clean(found, TEXTS[name])


def _deployed(record: _Members) -> Deployed:
    cert_id = record.maybe("cert_id", record.generation)
    failure = record.maybe("failure", record.members)
    return Deployed(
        key=record.text("key"),
        place=record.text("place"),
        name=record.text("name"),
        cert_id=None if cert_id is None else CertId(cert_id),
        generation=record.maybe("generation", record.generation),
        serial=record.maybe("serial", record.hex),
        fingerprint=record.maybe("fingerprint", record.hex),
        not_after=record.instant("not_after"),
        published_at=record.maybe("published", record.instant),
        written_at=record.maybe("written", record.instant),
        reloaded_at=record.maybe("reloaded", record.instant),
        served_at=record.maybe("served", record.instant),
        served_on=record.maybe("served_on", record.text),
        probed=record.flag("probed"),
        waits=record.maybe("waits", record.text),
        failure=None if failure is None else _failure(_Members(failure, "a failure in its report")),
        orphaned=record.flag("orphaned"),
    )


def _failure(record: _Members) -> Failure:
    try:
        step = Step(record.text("step", 20))
    except ValueError:
        raise Refused(f"{record.what} names no step of a deployment") from None
    return Failure(
        step=step,
        error=record.text("error"),
        output=record.maybe("output", record.text) or "",
        at=record.instant("at"),
        next_try=record.maybe("next_try", record.instant),
        rolled_back=record.flag("rolled_back"),
        generation=record.maybe("generation", record.generation),
    )


class _Members:
    """A JSON object from outside. Each question raises Refused where the answer is of another kind."""

    def __init__(self, record: Any, what: str) -> None:
        if not isinstance(record, dict):
            raise Refused(f"{what} is no JSON object")
        self._record: dict[str, Any] = record
        self.what = what

    def maybe(self, name: str, read: Callable[[str], Any]) -> Any:
        return None if self._record.get(name) is None else read(name)

    def text(self, name: str, longest: int | None = None) -> str:
        found = self._record.get(name)
        most = TEXTS.get(name, TEXTS["name"]) if longest is None else longest
        if not isinstance(found, str) or len(found) > most:
            raise Refused(f"{self.what} has no {name} of at most {most} characters")
        if name == "key":
            return self._key(found)
        return found if found.isprintable() else clean(found, most)

    def hex(self, name: str) -> str:
        found = self.text(name)
        if not _HEX.fullmatch(found):
            raise Refused(f"{self.what} has a {name} that is no hexadecimal number")
        return found

    def number(self, name: str, least: int, most: int) -> int:
        found = self._record.get(name)
        # In Python a bool is an int.
        if type(found) is not int or not least <= found <= most:
            raise Refused(f"{self.what} has no {name} from {least} to {most}")
        return found

    def generation(self, name: str) -> int:
        return self.number(name, 0, _LARGEST)

    def flag(self, name: str) -> bool:
        found = self._record.get(name, False)
        if type(found) is not bool:
            raise Refused(f"{self.what} has a {name} that is neither true nor false")
        return found

    def instant(self, name: str) -> datetime:
        try:
            found = datetime.fromisoformat(self.text(name, 40))
        except ValueError:
            raise Refused(f"{self.what} has no {name} as RFC 3339 has it") from None
        if found.tzinfo is None or not 1970 <= found.year < 9999:
            raise Refused(f"{self.what} has a {name} that is no instant")
        return found.astimezone(UTC)

    def members(self, name: str) -> dict[str, Any]:
        found = self._record.get(name)
        if not isinstance(found, dict):
            raise Refused(f"{self.what} has no {name}, or one that is no JSON object")
        return found

    def _key(self, found: str) -> str:
        """Nothing in it acts on a terminal or is refused by PostgreSQL: no certificate of the list has such a key."""
        if "\0" in found or not found or not found.isprintable():
            raise Refused(f"{self.what} has a key that no certificate can have")
        return found


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) >= PARTS:
        raise Refused("its report has a part that there cannot be")
    return int(text)


def _digest(found: object) -> str:
    if not isinstance(found, str) or not _DIGEST.fullmatch(found):
        raise Refused("its report has a part without a digest")
    return found


def _opened(raw: bytes) -> bytes:
    """Decompressed, and never more of it than there may be."""
    if len(raw) > PART_BYTES:
        raise Refused("a part of its report is too large")
    opening = zlib.decompressobj()
    try:
        found = opening.decompress(raw, OPENED_BYTES)
    except zlib.error:
        raise Refused("a part of its report cannot be decompressed") from None
    if opening.unconsumed_tail or not opening.eof:
        raise Refused("a part of its report is too large, or not whole")
    return found


def _parsed(raw: bytes, most: int) -> Any:
    if len(raw) > most:
        raise Refused("its report is too large")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused("its report is not JSON") from None


def _packed(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _written(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
