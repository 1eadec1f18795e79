"""URLs of a Valkey server, read as Go reads them, with options of go-redis and of redis-py."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from knit.core import address
from knit.core.address import ParsedUrl
from knit.core.words import duration
from knit.errors import Misconfigured

TCP = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss"}
UNIX = "unix"
HIGHEST_DATABASE = 2**31 - 1
SECONDS = {
    "dial_timeout": "socket_connect_timeout",
    "read_timeout": "socket_timeout",
    "write_timeout": "socket_timeout",
    "socket_connect_timeout": "socket_connect_timeout",
    "socket_timeout": "socket_timeout",
}
NUMBERS = ("protocol", "health_check_interval")
WORDS = (
    "client_name",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
)

WORD = re.compile(r"[a-z_]{1,40}")

# How go-redis keeps its pool and tries again: a connection of ours is made when it is needed.
POOLING = frozenset(
    {
        "conn_max_idle_time",
        "conn_max_lifetime",
        "idle_check_frequency",
        "idle_timeout",
        "max_active_conns",
        "max_conn_age",
        "max_idle_conns",
        "max_retries",
        "max_retry_backoff",
        "min_idle_conns",
        "min_retry_backoff",
        "pool_fifo",
        "pool_size",
        "pool_timeout",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it is and how to connect. `where` is for messages; `words` are options as redis-py calls and reads them."""

    where: str
    scheme: str
    words: dict[str, str]
    arguments: dict[str, object] = field(repr=False)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme == "rediss"

    @property
    def database(self) -> object:
        """The number of the database."""
        return self.arguments["db"]

    @property
    def url(self) -> str:
        """For redis-py: without whatever is secret."""
        return f"{self.scheme}://{'?' if self.words else ''}{urlencode(self.words)}"


def parse(text: str) -> Server:
    """Raises Misconfigured, whose text holds nothing of the URL but the name of a bad option."""
    try:
        found = address.parse(text)
    except ValueError as error:
        raise _bad(f"{error}; allowed is valkey://[user:password@]host[:port][/db]") from None
    if found.scheme not in (*TCP, UNIX):
        raise _bad(f"it must begin with one of {', '.join(f'{name}://' for name in (*TCP, UNIX))}")
    query = {key: value for key, value in found.query.items() if key not in POOLING}
    options = {SECONDS[key]: _seconds(key, value) for key, value in query.items() if key in SECONDS}
    numbers = {key: _number(key, value) for key, value in query.items() if key in NUMBERS}
    credentials = {"username": found.user or None, "password": found.password}
    for key in query:
        if key not in (*SECONDS, *NUMBERS, *WORDS, "db", "skip_verify"):
            # What is no word may be a part of credentials that were not escaped.
            raise _bad(f"{key!r} is not an option of it" if WORD.fullmatch(key) else "it has an option that is none")
    if query.get("ssl_cert_reqs", "none") not in ("none", "optional", "required"):
        raise _bad("ssl_cert_reqs must be none, optional or required")
    place = _socket(found) if found.scheme == UNIX else _host(found)
    return Server(
        where=found.path if found.scheme == UNIX else f"{place['host']}:{place['port']}",
        scheme=TCP.get(found.scheme, UNIX),
        words=_words(query),
        arguments={**place, **options, **numbers, **credentials, "db": _database(found, query)},
    )


def _words(query: dict[str, str]) -> dict[str, str]:
    words = {key: value for key, value in query.items() if key in WORDS}
    if query.get("skip_verify") in ("true", "1"):
        words |= {"ssl_cert_reqs": "none", "ssl_check_hostname": "False"}
    return words


def _host(found: ParsedUrl) -> dict[str, object]:
    if len(found.hosts) > 1:
        raise _bad("it must name one host: clusters are not supported")
    name, port = found.hosts[0]
    return {"host": name or "localhost", "port": int(port or 6379)}


def _socket(found: ParsedUrl) -> dict[str, object]:
    if found.hosts[0] != ("", "") or not found.path.strip("/"):
        raise _bad("unix:// must be followed by the absolute path of a socket")
    return {"path": found.path}


def _database(found: ParsedUrl, query: dict[str, str]) -> int:
    path = "" if found.scheme == UNIX else found.path.strip("/")
    return _number("the database", query.get("db") or path or "0")


def _number(what: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > HIGHEST_DATABASE:
        raise _bad(f"{what} must be a number")
    return int(text)


def _seconds(what: str, text: str) -> float:
    try:
        return float(text) if text.replace(".", "", 1).isdigit() and float(text) else duration(text).total_seconds()
    except ValueError as error:
        raise _bad(f"{what} must be {error}") from None


def _bad(why: str) -> Misconfigured:
    return Misconfigured(f"the URL is not valid: {why}")
