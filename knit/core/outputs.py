"""The files that a node makes of a certificate: how many, where, with what in them and for whom.

Everything behind this module works with outputs in any number, those that hold the key first. It relies on this:

- The same pair gives the same bytes each time: a node compares what it would write with the hash of what it has
  written. Key stores have a random salt, so they are compared by what they are made of (`Recipe.identity`), and made
  only when they are written.
- This module needs no cryptography: the node's process never loads that library. What has to be parsed or encrypted is
  done in the process that inspects pairs (`node/inspector_child.py`).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, FileSpec, Layout, Place
from knit.errors import Refused

if TYPE_CHECKING:
    from knit.core.value import Value

KEY_MODE = 0o600
CHAIN_MODE = 0o644

WITH_KEY = frozenset({Content.PRIVKEY, Content.COMBINED, Content.PKCS12, Content.JKS})
STORES = frozenset({Content.PKCS12, Content.JKS})
"""Formats that are encrypted with a password."""

NAME = "{name}"
"""What stands in a path for a certificate's name."""

WILDCARD = "_wildcard"
LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LEAF = re.compile(rb"\s*-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----[ \t]*(?:\r?\n|\Z)")
_MADE = 1
"""Raised when a format is made in another way, so that nodes write it anew."""


class File(NamedTuple):
    """Where an output is, and the most that its rights may be."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How a key store is closed: its format, its password, and the name of its only entry."""

    content: Content
    password: str = field(repr=False)
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file to be written.

    `owner` and `group` are ids; None keeps those of the file that is there. `mode` is that of a new file and the most
    that others may do with the one there; with `fixed` it is that of any. With `seal`, `content` is still to be made.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: int | None = None
    group: int | None = None
    fixed: bool = False
    seal: Seal | None = None

    @property
    def file(self) -> File:
        """What is remembered of it, once it is written."""
        return File(self.path, self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What this machine adds to a `FileSpec`: the ids of its owner and group, and the password in its file."""

    owner: int | None = None
    group: int | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a place makes of a certificate on this machine; `makings` go with the place's files."""

    place: Place
    makings: tuple[Making, ...] = ()

    @property
    def needs_name(self) -> bool:
        """Whether the primary name of a certificate decides where its files are."""
        return any(NAME in spec.path for spec in self.place.files)

    @property
    def kinds(self) -> tuple[Content, ...]:
        """What is in the outputs, in their order."""
        if not self.place.files:
            return (Content.PRIVKEY, Content.FULLCHAIN)
        return tuple(spec.content for spec, _ in self._ordered())

    def identity(self, value: Value) -> str | None:
        """What the files are made of, in one hash; None for a value's own paths, where the bytes tell.

        Only who has the certificate's key can test a guess of a password against it.
        """
        if not self.place.files:
            return None
        said = [
            [spec.content, spec.path, spec.mode, making.owner, making.group, making.password]
            for spec, making in self._ordered()
        ]
        text = json.dumps([_MADE, self.place.layout, value.sha256, said])
        return hmac.new(value.privkey, text.encode(), "sha256").hexdigest()

    def outputs(self, value: Value, name: str | None) -> tuple[Output, ...]:
        """The files of this value, those with its key first; paths as the place spells them.

        `name` is the certificate's primary name. Raises Refused where it, or the chain, is needed and is none.
        """
        if not self.place.files:
            return outputs_of(value.bundle, cert_path=value.cert_path, key_path=value.key_path)
        if self.place.layout is Layout.FLIP:
            flip_folder(self.place)
        shown = file_name(name) if self.needs_name else ""
        return tuple(
            Output(
                path=spec.path.replace(NAME, shown),
                content=content_of(spec.content, value.bundle),
                mode=mode_of(spec),
                owner=making.owner,
                group=making.group,
                fixed=spec.mode is not None,
                seal=_seal(spec, making),
            )
            for spec, making in self._ordered()
        )

    def _ordered(self) -> list[tuple[FileSpec, Making]]:
        both = zip(self.place.files, self.makings, strict=True)
        return sorted(both, key=lambda one: one[0].content not in WITH_KEY)


ORDINARY = Recipe(place=Place(name=""))
"""A value's own paths: its key and its chain."""


def flip_folder(place: Place) -> str:
    """The folder of a certificate's files in a place with the layout `flip`, as the place spells it.

    Raises Refused unless all files are in one folder, which has the certificate's name where any path has it, and
    whose own folder is the same for all certificates.
    """
    folders = {spec.path.rpartition("/")[0] for spec in place.files}
    folder = next(iter(folders), "")
    above, _, last = folder.rpartition("/")
    named = NAME in last or not any(NAME in spec.path for spec in place.files)
    if len(folders) != 1 or not above or NAME in above or not named:
        message = (
            f"layout flip: all files of place {place.name!r} must be in one folder, which alone has {NAME} in its name"
        )
        raise Refused(message)
    return folder


def outputs_of(bundle: Bundle, *, cert_path: str, key_path: str) -> tuple[Output, ...]:
    """The files that a published pair is installed as: key, chain."""
    return (
        Output(path=key_path, content=bundle.privkey, mode=KEY_MODE),
        Output(path=cert_path, content=bundle.fullchain, mode=CHAIN_MODE),
    )


def mode_of(spec: FileSpec) -> int:
    """The mode of a new file."""
    if spec.mode is not None:
        return spec.mode
    return KEY_MODE if spec.content in WITH_KEY else CHAIN_MODE


def content_of(content: Content, bundle: Bundle) -> bytes:
    """The bytes in such a file; nothing for a key store. Raises Refused for a chain that is empty."""
    match content:
        case Content.FULLCHAIN:
            return bundle.fullchain
        case Content.PRIVKEY:
            return bundle.privkey
        case Content.CERT:
            return _split(bundle.fullchain)[0]
        case Content.CHAIN:
            return _chain(bundle.fullchain)
        case Content.COMBINED:
            return _lines(bundle.privkey) + bundle.fullchain
        case Content.PKCS12 | Content.JKS:
            return b""


def file_name(primary: str | None) -> str:
    """What `{name}` stands for: the primary name in lower case, `*` as `_wildcard`; each name has its own.

    Raises Refused for what is no host name: it comes out of Valkey, and is to be a part of a path.
    """
    first, *rest = (primary or "").lower().split(".")
    labels = [WILDCARD if first == "*" and rest else first, *rest]
    fit = all(map(_LABEL.fullmatch, labels)) and first != WILDCARD and len(primary or "") <= LONGEST_NAME
    if not fit:
        raise Refused(f"the certificate's name {(primary or '')[:100]!r} cannot be part of a file's path")
    return ".".join(labels)


def pair_in(kinds: Sequence[Content], contents: Sequence[bytes]) -> Bundle | None:
    """The pair that lies in plain files of these kinds; None where they do not hold both halves."""
    found = dict(zip(kinds, contents, strict=True))
    combined = found.get(Content.COMBINED)
    if combined is not None:
        privkey, mark, rest = combined.partition(b"-----BEGIN CERTIFICATE-----")
        return Bundle(fullchain=mark + rest, privkey=privkey)
    privkey = found.get(Content.PRIVKEY, b"")
    fullchain = found.get(Content.FULLCHAIN)
    if fullchain is None and Content.CERT in found:
        fullchain = _lines(found[Content.CERT]) + found.get(Content.CHAIN, b"")
    return Bundle(fullchain=fullchain, privkey=privkey) if privkey and fullchain else None


def files_at(*paths: str) -> tuple[File, ...]:
    """Files with the modes they usually have: the first holds the key."""
    return tuple(File(path, usual_mode(number)) for number, path in enumerate(paths))


def usual_mode(number: int) -> int:
    """The mode that the output with this number, counted from 0, has in most records."""
    return CHAIN_MODE if number else KEY_MODE


def _seal(spec: FileSpec, making: Making) -> Seal | None:
    if spec.content not in STORES:
        return None
    if not making.password:
        message = f"{spec.path!r}: a file in the format {spec.content} needs password_file"
        raise Refused(message)
    return Seal(content=spec.content, password=making.password, alias="knit")


def _split(fullchain: bytes) -> tuple[bytes, bytes]:
    """The leaf and the others, with nothing before either."""
    leaf = _LEAF.match(fullchain)
    cut = 0 if leaf is None else leaf.end()
    return fullchain[:cut].lstrip(), fullchain[cut:].lstrip()


def _chain(fullchain: bytes) -> bytes:
    chain = _split(fullchain)[1]
    if not chain:
        message = "its certificate comes without a chain, and a file for the chain must not be empty"
        raise Refused(message)
    return chain


def _lines(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"
