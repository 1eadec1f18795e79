"""A snapshot of the environment, and the parsers that turn its text into values.

A parser takes the text and returns the value, or raises ValueError whose text says what is allowed.
Durations and switches are read by `knit.core.words`.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from knit.core import address
from knit.errors import Misconfigured
from knit.settings import trusted

LONGEST_FILE = 1 << 20
SECRET_KEY_BYTES = 32

COMMANDS = frozenset({"KNIT_NODE"})
"""Variables whose files hold commands that are run: no one else may be able to write them."""

ESCAPING = "; in a password / ? # % are written %2F %3F %23 %25"


class Environment(Mapping[str, str]):
    """The variables as they were when the process started; an empty one counts as unset.

    `NAME_FILE` names a file that holds the value of NAME. NAME itself wins. Newlines at the end of either are cut: a
    secret that was made with `echo` has one, and no server takes it.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        cut = {name: value.rstrip("\r\n") for name, value in variables.items()}
        self._variables = {name: value for name, value in cut.items() if value}

    @classmethod
    def of_process(cls) -> Environment:
        """Snapshot of this process's environment."""
        return cls(os.environ)

    def __getitem__(self, name: str) -> str:
        if name in self._variables:
            return self._variables[name]
        path = self._variables[f"{name}_FILE"]
        try:
            value = _held(name, path).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{name}_FILE={path}: cannot be read ({_cause(error)})"
            raise Misconfigured(message) from None
        if "\0" in value or len(value) > LONGEST_FILE:
            # No variable could hold a NUL, and no client, file or header takes one.
            message = f"{name}_FILE={path}: must be text of at most {LONGEST_FILE} bytes, without NUL"
            raise Misconfigured(message)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables or f"{name}_FILE" in self._variables

    def origin(self, name: str) -> str:
        """Where the value of NAME comes from: its name, or the path of its file."""
        return name if name in self._variables else self._variables[f"{name}_FILE"]

    def child(self, *, without: str) -> dict[str, str]:
        """The variables for a child process, leaving out those whose names start with `without`."""
        return {name: value for name, value in self._variables.items() if not name.startswith(without)}


def _held(name: str, path: str) -> bytes:
    if name in COMMANDS:
        return trusted.read(f"{name}_FILE", path)
    with Path(path).open("rb") as file:
        return file.read(LONGEST_FILE + 1)


def _cause(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "input/output error") if isinstance(error, OSError) else "not UTF-8 text"


def text(value: str) -> str:
    """Any text that is UTF-8: other bytes stand in the environment as surrogates, which no server can be sent."""
    try:
        value.encode()
    except UnicodeEncodeError:
        message = "UTF-8 text"
        raise ValueError(message) from None
    return value


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from low to high."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", value) or not low <= int(value) <= high:
            message = f"a whole number from {low} to {high}"
            raise ValueError(message)
        return int(value)

    return parse


def word(*allowed: str) -> Callable[[str], str]:
    """One of a closed set of words."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return value

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """A URL of one of these schemes, with a host (`unix` needs a path instead), read as Go reads it."""

    def parse(value: str) -> str:
        text(value)
        allowed = f"a URL starting with {' or '.join(s + '://' for s in schemes)}"
        try:
            found = address.parse(value)
        except ValueError as error:
            raise ValueError(f"{allowed} ({error}{_escaping(value)})") from None
        hosts = [name for name, _ in found.hosts]
        whole = bool(found.path) if "unix" in found.scheme else len(hosts) == 1 and _is_host(hosts[0])
        if found.scheme not in schemes or not whole or any(port == "0" for _, port in found.hosts):
            raise ValueError(allowed)
        return value

    return parse


def _escaping(value: str) -> str:
    return ESCAPING if "@" in value else ""


def postgres(value: str) -> str:
    """A URL of PostgreSQL, with any number of hosts or none, or words like host=db dbname=knit."""
    text(value)
    if "://" not in value.partition("=")[0]:
        if "=" not in value:
            raise ValueError("a URL starting with postgres:// or postgresql://, or words like host=db dbname=knit")
        return value
    try:
        found = address.parse(value)
    except ValueError as error:
        raise ValueError(f"a URL starting with postgres:// or postgresql:// ({error}{_escaping(value)})") from None
    hosts = [name for name, _ in found.hosts]
    whole = hosts == [""] or all(name.startswith("/") or _is_host(name) for name in hosts)
    if found.scheme not in ("postgres", "postgresql") or not whole or any(port == "0" for _, port in found.hosts):
        raise ValueError("a URL starting with postgres:// or postgresql://, or words like host=db dbname=knit")
    return value


def _is_host(name: str | None) -> bool:
    """Whether this can be looked up: Python answers an impossible label with an error that no client expects."""
    return bool(name) and all(0 < len(label) < 64 for label in str(name).removesuffix(".").split("."))


def resolvers(value: str) -> tuple[str, ...]:
    """Comma-separated `host`, `host:port` or `[v6]:port`; a missing port becomes 53."""
    text(value)
    found = tuple(_with_port(item.strip()) for item in value.split(",") if item.strip())
    if not found:
        message = "a comma-separated list such as 9.9.9.9,192.0.2.1:5353"
        raise ValueError(message)
    return found


def _with_port(item: str) -> str:
    plain_v6 = item.count(":") > 1 and not item.startswith("[")
    host, port = (item, "53") if plain_v6 else _split_port(item)
    bare = host.strip("[]")
    if not bare or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536 or any(c.isspace() for c in bare):
        message = "a comma-separated list such as 9.9.9.9,192.0.2.1:5353"
        raise ValueError(message)
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _split_port(item: str) -> tuple[str, str]:
    if item.startswith("["):
        host, _, rest = item.partition("]")
        return host, rest[1:] if rest.startswith(":") else "53"
    host, colon, port = item.partition(":")
    return host, port if colon else "53"


def hosts(value: str) -> tuple[str, ...]:
    """Host names, each with or without a port, separated by commas."""
    text(value)
    found = tuple(item.strip().lower() for item in value.split(","))
    for item in found:
        parts = urlsplit(f"https://{item}")
        try:
            whole = parts.hostname is not None and parts.netloc == item and parts.port != 0
        except ValueError:
            whole = False
        if not whole or "@" in item or not item.isascii():
            message = "host names, each with or without a port, separated by commas"
            raise ValueError(message)
    return found


def directories(value: str) -> tuple[str, ...]:
    """Colon-separated absolute directories."""
    found = tuple(item for item in value.split(":") if item)
    if not found or any(not item.startswith("/") or ".." in item.split("/") for item in found):
        message = "absolute directories separated by colons, without '..'"
        raise ValueError(message)
    return found


def absolute_path(value: str) -> str:
    """One absolute path."""
    if not value.startswith("/") or ".." in value.split("/"):
        message = "an absolute path without '..'"
        raise ValueError(message)
    return value


def readable_file(value: str) -> str:
    """The path of a file that can be read now."""
    try:
        with Path(value).open("rb"):
            return value
    except OSError as error:
        message = f"a readable file ({error.strerror})"
        raise ValueError(message) from None


def base64url(value: str) -> str:
    """Base64url or standard base64 without white space; other characters would silently give a wrong key."""
    if not re.fullmatch(r"[A-Za-z0-9_+/-]+={0,2}", value) or len(value.rstrip("=")) % 4 == 1:
        message = "base64url text as the CA gave it"
        raise ValueError(message)
    return value


def secret_keys(value: str) -> tuple[bytes, ...]:
    """Keys of 32 bytes, each in base64, separated by commas."""
    try:
        found = tuple(b64decode(one.strip(), validate=True) for one in value.split(","))
    except ValueError:
        found = ()
    if not found or any(len(one) != SECRET_KEY_BYTES for one in found):
        raise ValueError(f"{SECRET_KEY_BYTES} bytes in base64, or several such, separated by commas")
    return found
