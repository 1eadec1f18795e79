"""KNIT_DB_URL: what the Go knit's driver (pgx) and libpq take, turned into parameters of libpq.

pgx keeps its pool's settings in the same place and passes words it does not know to the server as settings; libpq
refuses both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from psycopg.pq import Conninfo

from knit.core import address
from knit.errors import Misconfigured

PGX_ONLY = re.compile(r"(pool|statement_cache|description_cache)_\w+|default_query_exec_mode|min_read_buffer_size")
UNPREPARED = frozenset({"simple_protocol", "exec", "describe_exec"})
PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\'])*)(?=\s|\Z)", re.DOTALL)
SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
SCHEMES = ("postgres", "postgresql")
OTHER_WORDS = {"dbname": "dbname", "database": "dbname", "username": "user"}

# A stopping worker must be gone within 10 s, so no statement may take longer. And none is worth compiling: that takes
# 30 ms, ten times as long as the largest of ours. The last one only tells that these have reached the server.
SERVER_SETTINGS = {
    "jit": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "knit.session": "direct",
}
# Rows are read in the form that these give them, so they are ours whatever the DSN says.
OURS = frozenset({"timezone", "datestyle", "intervalstyle", "knit.session"})
NAME = "knit"
DEFAULTS = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_EXAMPLE = "postgres://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class Dsn:
    """Parameters for libpq: `direct` to a server, `pooled` through a pooler, which takes no settings.

    `prepares` is False where the DSN says that prepared statements do not work; `own_settings` are names of settings
    of the server that it asks for.
    """

    direct: dict[str, str] = field(repr=False)
    pooled: dict[str, str] = field(repr=False)
    prepares: bool
    own_settings: tuple[str, ...] = field(repr=False)


def parse(text: str, *, name: str = NAME) -> Dsn:
    """`name` is what sessions are called where the DSN does not say it.

    Raises Misconfigured, whose text holds nothing of the DSN: there may be a password in any part of it.
    """
    pairs = _url_pairs(text) if "://" in text.partition("=")[0] else _keyword_pairs(text)
    if not all(port.isdigit() for port in pairs.get("port", "5432").split(",") if port):
        message = "KNIT_DB_URL: the port is not a number"
        raise Misconfigured(message)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    libpq = {key: value for key, value in pairs.items() if key in known}
    foreign = {key: value for key, value in pairs.items() if key not in known and not PGX_ONLY.fullmatch(key)}
    own_options = libpq.pop("options", "")
    parameters = DEFAULTS | {"application_name": name} | libpq | {"client_encoding": "UTF8"}
    return Dsn(
        direct=parameters | {"options": _options(own_options, foreign)},
        pooled=parameters,
        prepares=pairs.get("default_query_exec_mode") not in UNPREPARED,
        own_settings=(*foreign, *(("options",) if own_options else ())),
    )


def _url_pairs(text: str) -> dict[str, str]:
    try:
        found = address.parse(text)
    except ValueError as error:
        message = f"KNIT_DB_URL is not a PostgreSQL URL ({error}); it has the form {_EXAMPLE}"
        raise Misconfigured(message) from None
    if found.scheme not in SCHEMES:
        message = f"KNIT_DB_URL is not a PostgreSQL URL; it has the form {_EXAMPLE}"
        raise Misconfigured(message)
    names, ports = zip(*found.hosts, strict=True)
    located = {
        "user": found.user,
        "password": found.password,
        "host": ",".join(names),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": found.path.removeprefix("/"),
    }
    return {key: value for key, value in located.items() if value} | _words(found.query)


def _keyword_pairs(text: str) -> dict[str, str]:
    found = list(PAIR.finditer(text))
    if not found or "".join(match.group() for match in found) != text.rstrip():
        message = f"KNIT_DB_URL is neither a PostgreSQL URL ({_EXAMPLE}) nor a list of words like host=db dbname=knit"
        raise Misconfigured(message)
    return _words({match[1]: re.sub(r"\\(.)", r"\1", _unquote(match[2])) for match in found})


def _words(pairs: dict[str, str]) -> dict[str, str]:
    """Pgx takes `database` for `dbname`."""
    return {OTHER_WORDS.get(key, key): value for key, value in pairs.items()}


def _unquote(value: str) -> str:
    return value[1:-1] if value.startswith("'") else value


def _options(own: str, foreign: dict[str, str]) -> str:
    for key in foreign:
        if not SETTING.fullmatch(key):
            message = f"KNIT_DB_URL: {urlencode({key: ''})[:-1][:60]!r} is not a connection parameter"
            raise Misconfigured(message)
    asked = {key: value for key, value in foreign.items() if key.lower() not in OURS}
    ours = {key: value for key, value in SERVER_SETTINGS.items() if key.lower() not in map(str.lower, asked)}
    return " ".join([own, *(f"-c {key}={_escape(value)}" for key, value in (ours | asked).items())]).strip()


def _escape(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
