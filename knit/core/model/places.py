"""What a node does with certificates: which it takes, into which place each goes, and what belongs to a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, time, tzinfo
from enum import StrEnum


class Content(StrEnum):
    """What is in a file. `combined` is the key, then the chain with the leaf first, in PEM; a chain has no leaf."""

    FULLCHAIN = "fullchain"
    CERT = "cert"
    CHAIN = "chain"
    PRIVKEY = "privkey"
    COMBINED = "combined"
    PKCS12 = "pkcs12"
    JKS = "jks"


class Layout(StrEnum):
    """How a certificate's files are replaced: one after the other, or all at once.

    With `flip` their folder is a symbolic link to a folder that holds one version of them.
    """

    PAIR = "pair"
    FLIP = "flip"


class OnRemove(StrEnum):
    """What becomes of the files of a certificate that is no longer published."""

    KEEP = "keep"
    DELETE = "delete"


class StartTls(StrEnum):
    """The protocol in which TLS is asked for; empty: TLS from the first byte."""

    NONE = ""
    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    LDAP = "ldap"
    POSTGRES = "postgres"
    MYSQL = "mysql"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """A file of each certificate of a place.

    `path` is absolute, with `{name}` for the certificate's primary name, `*` as `_wildcard`: in the file's name, or,
    with the layout `flip`, in the name of the folder that all files of the place are in. `mode`, `owner` and `group`
    None: those of the file that is there, else the usual ones; an owner or group is a name or a number that this
    machine knows. `password_file` holds the password of `pkcs12` and `jks`, and has one for these.
    """

    content: Content
    path: str
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    password_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Where the certificates of a place are served: `connect` is `host:port`, an IPv6 address in brackets."""

    connect: str
    starttls: StartTls = StartTls.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a place may be reloaded, every week: days from Monday as 0, from `start` to `end` by the clocks of a zone.

    Where `end` is not after `start`, it is that of the next day.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server's files, and how it is made to serve them.

    No `files`: a value's own paths, its chain and its key. `check`, `reload` are for `sh -c`; None: nothing to run.
    """

    name: str
    preset: str | None = None
    files: tuple[FileSpec, ...] = ()
    layout: Layout = Layout.PAIR
    check: str | None = None
    reload: str | None = None
    probe: Probe | None = None
    window: Window | None = None
    create_dirs: bool = False
    on_remove: OnRemove = OnRemove.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Certificates that this node wants, by globs on the Valkey key or on a name of theirs, and their place.

    One glob that fits is enough. Without any, it is all certificates.
    """

    place: str
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """The file of a node, checked. The first of `takes` that fits decides; without any, all go to the only place."""

    name: str
    takes: tuple[Take, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
