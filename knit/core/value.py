"""The published value: one JSON object per certificate, byte for byte what Go's encoding/json writes.

The six original members come first and in the original's order; knit's own member `knit` is last, and the Go
reader does not see it. Nothing here ever quotes the bytes it read: they hold a private key.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NoReturn

from knit.core.digest import pair_digest
from knit.core.model.attempt import Ready
from knit.core.model.certificate import Bundle, CertId, Issued
from knit.errors import BundleMismatch

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_GENERATION = 2**53 - 1
"""The largest whole number that the server's Lua still counts exactly."""

FARTHEST = 366 * 24 * 3600
"""Seconds that a generation can be ahead of the clock."""

VERSION = 1

_TEXTS = ("fullchain", "privkey", "not_after", "sha256", "cert_path", "key_path")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """knit's own member: which certificate, a generation that only grows, and where it came from.

    `issued_at` is when the attempt began; an earlier knit cut it to whole seconds. `installation` is the id of the
    database that the certificate is listed in; an earlier knit wrote none. With `directory` (the ACME directory URL)
    the facts about a value can be taken from the value itself when the database has lost them.
    """

    cert_id: CertId
    generation: int
    issued_at: datetime
    directory: str | None = None
    installation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One published value. `mark` is None when another publisher (the Go knit) wrote it."""

    fullchain: bytes
    privkey: bytes = field(repr=False)
    not_after: datetime
    sha256: str
    cert_path: str
    key_path: str
    mark: Mark | None = None

    @classmethod
    def of(cls, bundle: Bundle, *, not_after: datetime, cert_path: str, key_path: str, mark: Mark) -> Value:
        """The value that publishes this bundle."""
        return cls(
            fullchain=bundle.fullchain,
            privkey=bundle.privkey,
            not_after=not_after,
            sha256=pair_digest(bundle.fullchain, bundle.privkey),
            cert_path=cert_path,
            key_path=key_path,
            mark=mark,
        )

    @classmethod
    def from_wire(cls, raw: bytes) -> Value:
        """Parse strictly; members that are not known are passed over.

        Raises BundleMismatch when it is too large or too deep, not UTF-8, not JSON, repeats a member, or a known
        member is missing or of the wrong type. The hash is read, not checked: see `verify`.
        """
        document = _document(raw)
        texts = {name: _text(document, name) for name in _TEXTS}
        if not _SHA256.fullmatch(texts["sha256"]):
            _refuse("sha256 is not 64 lower-case hexadecimal digits")
        return cls(
            fullchain=texts["fullchain"].encode(),
            privkey=texts["privkey"].encode(),
            not_after=_instant(texts["not_after"], "not_after"),
            sha256=texts["sha256"],
            cert_path=texts["cert_path"],
            key_path=texts["key_path"],
            mark=_mark(document.get("knit")),
        )

    @property
    def bundle(self) -> Bundle:
        """The pair alone."""
        return Bundle(fullchain=self.fullchain, privkey=self.privkey)

    @property
    def generation(self) -> int | None:
        """The generation, or None when another publisher wrote the value."""
        return None if self.mark is None else self.mark.generation

    def generation_by(self, now: datetime) -> int | None:
        """The generation, or None where it is so far ahead of the clock that it cannot be ours."""
        ahead = self.generation is not None and self.generation > now.timestamp() + FARTHEST
        return None if ahead else self.generation

    def verify(self) -> None:
        """Raise BundleMismatch unless the hash is that of the bytes."""
        if pair_digest(self.fullchain, self.privkey) != self.sha256:
            _refuse("sha256 is not the hash of fullchain and privkey")

    def to_wire(self) -> bytes:
        """The JSON to publish. Raises BundleMismatch when a member is not text or the value would be too large."""
        try:
            raw = _go_json(self._members()).encode()
        except UnicodeError:
            # The Unicode errors carry the text they failed on.
            raise BundleMismatch("the value holds bytes that are not UTF-8 text") from None
        if len(raw) > MAX_BYTES:
            _refuse(f"it has {len(raw)} bytes, more than {MAX_BYTES}")
        return raw

    def _members(self) -> dict[str, object]:
        members: dict[str, object] = {
            "fullchain": self.fullchain.decode(),
            "privkey": self.privkey.decode(),
            "not_after": _go_time(self.not_after),
            "sha256": self.sha256,
            "cert_path": self.cert_path,
            "key_path": self.key_path,
        }
        if self.mark is not None:
            owner = {} if self.mark.installation is None else {"installation": self.mark.installation}
            members["knit"] = {
                "v": VERSION,
                "id": self.mark.cert_id,
                "generation": self.mark.generation,
                "issued_at": _exact_time(self.mark.issued_at),
                "directory": self.mark.directory,
                **owner,
            }
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A value on its way to be published, and the facts of it that are recorded once it is.

    `replaces` is the token of what it is to be published in place of.
    """

    ready: Ready
    issued: Issued
    bundle: Bundle
    installation: str
    replaces: str
    wire: bytes = field(repr=False)

    @classmethod
    def of(cls, ready: Ready, bundle: Bundle, issued: Issued, *, installation: str, replaces: str) -> Parcel:
        """`issued` has the hash of this bundle. Raises BundleMismatch when it makes no value."""
        value = published_as(bundle, issued, installation)
        return cls(
            ready=ready,
            issued=issued,
            bundle=bundle,
            installation=installation,
            replaces=replaces,
            wire=value.to_wire(),
        )

    def over(self, token: str, *, generation: int) -> Parcel:
        """This value in place of something else, under another generation; a publication under this one was begun."""
        begun = replace(self.ready, generation=self.issued.generation)
        issued = replace(self.issued, generation=generation)
        return Parcel.of(begun, self.bundle, issued, installation=self.installation, replaces=token)

    def found(self, value: Value) -> Parcel:
        """This value is published already, and this is what was written then."""
        issued = replace(
            self.issued,
            generation=value.generation or 0,
            cert_path=value.cert_path,
            key_path=value.key_path,
        )
        return replace(self, issued=issued)


def published_as(bundle: Bundle, issued: Issued, installation: str) -> Value:
    """The value that publishes this bundle with these facts."""
    mark = Mark(
        cert_id=issued.cert_id,
        generation=issued.generation,
        issued_at=issued.issued_at,
        directory=issued.directory,
        installation=installation,
    )
    return Value.of(
        bundle,
        not_after=issued.not_after,
        cert_path=issued.cert_path,
        key_path=issued.key_path,
        mark=mark,
    )


def _document(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_BYTES:
        _refuse(f"it has {len(raw)} bytes, more than {MAX_BYTES}")
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # The cause is dropped on purpose: JSON and Unicode errors carry the whole text.
        raise BundleMismatch("the published value is not valid JSON") from None
    if not isinstance(document, dict):
        _refuse("it is not a JSON object")
    if _deeper(document, MAX_DEPTH):
        _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("a member appears twice")
    return members


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


def _deeper(item: object, levels: int) -> bool:
    if isinstance(item, dict):
        inner = list(item.values())
    elif isinstance(item, list):
        inner = item
    else:
        return False
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)


def _text(document: dict[str, object], name: str) -> str:
    text = document.get(name)
    if not isinstance(text, str):
        _refuse(f"member {name} is missing or not a text")
    if _LONE_SURROGATE.search(text):
        _refuse(f"member {name} holds half a surrogate pair")
    return text


def _whole(document: dict[str, object], name: str) -> int:
    number = document.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_GENERATION:
        _refuse(f"member knit.{name} is not a whole number from 0 to {MAX_GENERATION}")
    return number


def _instant(text: str, name: str) -> datetime:
    if not _RFC3339.fullmatch(text):
        _refuse(f"member {name} is not an RFC 3339 time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BundleMismatch(f"the published value is refused: member {name} is not an RFC 3339 time") from None


def _mark(member: object) -> Mark | None:
    if member is None:
        return None
    if not isinstance(member, dict):
        _refuse("member knit is not an object")
    if not _whole(member, "v"):
        _refuse("member knit.v is 0")
    return Mark(
        cert_id=CertId(_whole(member, "id")),
        generation=_whole(member, "generation"),
        issued_at=_instant(_text(member, "issued_at"), "knit.issued_at"),
        directory=None if member.get("directory") is None else _text(member, "directory"),
        installation=None if member.get("installation") is None else _text(member, "installation"),
    )


def _go_json(members: dict[str, object]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES)


def _go_time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _exact_time(when: datetime) -> str:
    """RFC 3339 with the fraction: less than a second decides whether a request came before or after."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _refuse(why: str) -> NoReturn:
    raise BundleMismatch(f"the published value is refused: {why}")
