"""The keys of a node file (KNIT_NODE_FILE): it is read by them, and its page is printed from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from enum import StrEnum
from ipaddress import AddressValueError, IPv6Address
from typing import Any, NoReturn, TypeVar

from knit.core.model.places import Content, Layout, OnRemove, StartTls
from knit.core.outputs import NAME
from knit.core.placement import spelled
from knit.core.presets import PRESETS
from knit.core.text import either
from knit.core.windows import EXAMPLES, parsed
from knit.settings.document import TableKey, flag, text

MOST = 256
"""Takes, places, files of a place and globs of a take: more are a program's mistake."""

LONGEST = 4096
MODES = 0o664
PORTS = range(1, 65536)

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PLACE_NAME = re.compile(r"[a-z0-9-]{1,40}")

SECRET = frozenset({Content.PRIVKEY, Content.COMBINED, Content.PKCS12, Content.JKS})
"""Contents that have the key in them."""

STORES = frozenset({Content.PKCS12, Content.JKS})
"""Contents that are sealed with a password."""

_Word = TypeVar("_Word", bound=StrEnum)


def _refuse(allowed: str) -> NoReturn:
    raise ValueError(allowed)


def _fits(pattern: re.Pattern[str], allowed: str) -> Callable[[Any], Any]:
    return text(lambda value: value if pattern.fullmatch(value) else _refuse(allowed))


def _one_of(words: type[_Word]) -> Callable[[Any], _Word]:
    def parse(value: str) -> _Word:
        return words(value) if value in tuple(words) else _refuse(f"one of {_quoted(words)}")

    return text(parse)


def _quoted(words: type[StrEnum]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _list(each: Callable[[Any], Any], allowed: str) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MOST:
            raise ValueError(allowed)
        return tuple(map(each, value))

    return parse


def _tables(value: object) -> tuple[Mapping[str, Any], ...]:
    return _list(_table, f"a list of tables, at most {MOST}")(value)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _refuse("a table")


def _named_tables(value: object) -> Mapping[str, Any]:
    found = _table(value)
    return found if len(found) <= MOST else _refuse(f"at most {MOST} tables")


def _glob(value: str) -> str:
    fit = 0 < len(value) <= LONGEST and value.isprintable()
    return value if fit else _refuse('globs such as "certs:shop.*": *, ? and [abc]')


def _name_glob(value: str) -> str:
    fit = 0 < len(value) <= LONGEST and value.isascii() and value.isprintable() and " " not in value
    return (
        value.lower() if fit else _refuse('globs such as "*.example.org", on names as certificates have them (xn--…)')
    )


def _file(value: str) -> str:
    fit = value.startswith("/") and value.isprintable() and len(value) <= LONGEST and not value.endswith(("/", "/."))
    return value if fit and ".." not in value.split("/") else _refuse("the absolute path of a file, without ..")


def _path(value: str) -> str:
    if {"{", "}"} & set(value.replace(NAME, "")):
        _refuse(f"a path in which {NAME} stands for the certificate's name, and no other braces")
    return spelled(_file(value))


def _mode(value: object) -> int:
    """As text: a number in TOML would be another one than it looks like."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('text of three or four octal digits, such as "0640"')
    mode = int(value, 8)
    if mode & ~MODES:
        raise ValueError("a mode that lets nobody execute the file, and others not write it")
    return mode if mode & 0o400 else _refuse("a mode that lets the owner read the file")


def _account(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9_.@\\-]{1,256}\$?", value) else _refuse("a name or a number")


def _command(value: str) -> str | None:
    """Any text that a shell takes; empty: nothing to run."""
    if "\0" in value or len(value) > LONGEST:
        _refuse(f"a command for sh -c, of at most {LONGEST} characters")
    return value if value.strip() else None


def _connect(value: str) -> str:
    host, colon, port = value.rpartition(":")
    valid = colon and re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) in PORTS
    bracketed = host.startswith("[") and host.endswith("]")
    if not valid or not (_is_v6(host[1:-1]) if bracketed else _is_host(host)):
        _refuse('a host and a port, such as "127.0.0.1:443", "mail.example.org:25" or "[::1]:443"')
    return value


def _is_v6(value: str) -> bool:
    try:
        IPv6Address(value)
    except AddressValueError:
        return False
    return True


def _is_host(value: str) -> bool:
    return len(value) <= 253 and all(
        re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})", one) for one in value.split(".")
    )


def zone(value: str) -> tzinfo:
    """The zone of this name. Raises ValueError where this machine does not know it."""
    if value == "UTC":
        return UTC  # Also where the machine has no zones at all.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        message = f"in a zone that this machine knows, not {value[:60]!r} (zones come with tzdata; UTC needs none)"
        raise ValueError(message) from None


def _preset(value: str) -> str:
    return value if value in PRESETS else _refuse(f"one of {', '.join(PRESETS)}")


TOP: tuple[TableKey, ...] = (
    TableKey(
        "name",
        _fits(NODE_NAME, "1 to 64 letters, digits, dots, hyphens and underscores"),
        "What this node is called, in its reports.",
        otherwise="the host's name",
    ),
    TableKey("take", _tables, "Which certificates this node takes.", default=()),
    TableKey("place", _named_tables, "Where they go.", default={}),
)

TAKE: tuple[TableKey, ...] = (
    TableKey(
        "keys",
        _list(text(_glob), f"a list of globs, at most {MOST}"),
        "Globs on the Valkey key. `*` stands for any letters, `?` for one, `[ab]` for one of these, `[!ab]` for one of "
        "all others.",
        default=(),
        otherwise="with neither `keys` nor `names`: all that no take before has",
    ),
    TableKey(
        "names",
        _list(text(_name_glob), f"a list of globs, at most {MOST}"),
        "Globs on the names of the certificate, one of which has to fit. `*` stands for any number of labels: "
        "`*.example.org` is the name of a wildcard certificate, and all names below `example.org`. With `keys` as "
        "well, either is enough.",
        default=(),
        otherwise="as said for `keys`",
    ),
    TableKey("place", text(str), "The place where they go.", needed=True),
)

PLACE: tuple[TableKey, ...] = (
    TableKey(
        "preset",
        text(_preset),
        "A server that knit knows: what it needs stands for each key that is not set here. See [presets](#presets).",
        otherwise="none",
    ),
    TableKey(
        "files", _tables, "What is written for each certificate.", otherwise="the value's own paths: chain and key"
    ),
    TableKey(
        "layout",
        _one_of(Layout),
        "`pair`: the files are replaced one after the other. `flip`: their folder is a symbolic link, and all are "
        f"replaced at once; they are all in one folder, which has `{NAME}` in its name.",
        otherwise="`pair`",
    ),
    TableKey(
        "check",
        text(_command),
        "Shell command that is run before the reload, with the new files in their places. Where it fails, the old "
        'ones come back. `""`: none.',
        otherwise="none",
    ),
    TableKey(
        "reload",
        text(_command),
        'Shell command that makes the server read the files; one for all certificates of a pass. `""`: none.',
        otherwise="none",
    ),
    TableKey(
        "probe",
        _table,
        "Where the server is asked for its certificate, which must be the new one. `{}`: nowhere.",
        otherwise="none",
    ),
    TableKey(
        "window",
        text(lambda value: parsed(value, zone)),
        "When the place may be [reloaded](#windows), every week: days, times and a zone, such as "
        f"{EXAMPLES.replace(chr(34), '`')}.",
        otherwise="at any time",
    ),
    TableKey("create_dirs", flag, "Folders of `files` that are missing are made.", otherwise="`false`"),
    TableKey(
        "on_remove",
        _one_of(OnRemove),
        "What becomes of files whose certificate is no longer published: `keep`. `delete` is refused for now: nothing "
        "removes files yet.",
        otherwise="`keep`",
    ),
)

FILE: tuple[TableKey, ...] = (
    TableKey(
        "content",
        _one_of(Content),
        f"What is in it: {either(f'`{one}`' for one in Content)}. `combined` is the key and then the whole chain, "
        "`chain` has no leaf.",
        needed=True,
    ),
    TableKey(
        "path",
        text(_path),
        f"Where it is. `{NAME}` stands for the certificate's primary name, with `*` as `_wildcard`.",
        needed=True,
    ),
    TableKey(
        "mode",
        _mode,
        'Its mode, as text: `"0640"`. Others may never read a file with the key in it.',
        otherwise='that of the file there; of a new one `"0600"` with the key in it, else `"0644"`',
    ),
    TableKey("owner", text(_account), "Its owner: a name or a number.", otherwise="as is, or the watcher's"),
    TableKey("group", text(_account), "Its group: a name or a number.", otherwise="as is, or the watcher's"),
    TableKey(
        "password_file",
        text(_file),
        f"File with the password of {either(f'`{one}`' for one in sorted(STORES))}, which need one.",
        otherwise="only for these",
    ),
)

PROBE: tuple[TableKey, ...] = (
    TableKey(
        "connect",
        text(_connect),
        'Host and port, `"127.0.0.1:443"` or `"[::1]:443"`.',
        otherwise="the preset's; without one needed",
    ),
    TableKey(
        "starttls",
        _one_of(StartTls),
        "The protocol that goes over to TLS: "
        f"{either(f'`{one}`' for one in StartTls if one)}; empty: TLS from the first byte.",
        otherwise="the preset's, or empty",
    ),
)
