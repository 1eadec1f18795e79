"""KNIT_DB_URL: what the Go knit's driver (pgx) takes, turned into parameters of libpq.

pgx keeps its pool's settings in the same URL and passes words it does not know to the server as settings;
libpq refuses both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from knit.errors import Misconfigured

PGX_ONLY = re.compile(r"(pool|statement_cache|description_cache)_\w+|default_query_exec_mode|min_read_buffer_size")
UNPREPARED = frozenset({"simple_protocol", "exec", "describe_exec"})
PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\'])*)(?=\s|\Z)", re.DOTALL)
SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

# A stopping worker must be gone within 10 s, so no statement may take longer. And none is worth compiling: that takes
# 30 ms, ten times as long as the largest of ours.
SERVER_SETTINGS = {
    "jit": "off",
    "TimeZone": "UTC",
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}
DEFAULTS = {
    "application_name": "knit",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


@dataclass(frozen=True, slots=True)
class Dsn:
    """Parameters for libpq. `prepares` is False where the URL says that prepared statements do not work."""

    parameters: dict[str, str] = field(repr=False)
    prepares: bool


def parse(text: str) -> Dsn:
    """Raises Misconfigured, whose text holds nothing of the URL: there may be a password in any part of it."""
    pairs = _url_pairs(text) if text.startswith(("postgres://", "postgresql://")) else _keyword_pairs(text)
    if not all(port.isdigit() for port in pairs.get("port", "5432").split(",")):
        message = "KNIT_DB_URL: the port is not a number"
        raise Misconfigured(message)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    libpq = {key: value for key, value in pairs.items() if key in known}
    foreign = {key: value for key, value in pairs.items() if key not in known and not PGX_ONLY.fullmatch(key)}
    options = _options(libpq.get("options", ""), foreign)
    return Dsn(
        parameters=DEFAULTS | libpq | {"options": options},
        prepares=pairs.get("default_query_exec_mode") not in UNPREPARED,
    )


def _url_pairs(text: str) -> dict[str, str]:
    try:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        bare = urlunsplit(parts._replace(query="", fragment=""))
        located = conninfo_to_dict(bare)
    except (ValueError, ProgrammingError):
        message = f"KNIT_DB_URL is not a PostgreSQL URL; it has the form {_EXAMPLE}"
        raise Misconfigured(message) from None
    return {key: str(value) for key, value in located.items()} | dict(query)


def _keyword_pairs(text: str) -> dict[str, str]:
    found = list(PAIR.finditer(text))
    if not found or "".join(match.group() for match in found) != text.rstrip():
        message = f"KNIT_DB_URL is neither a PostgreSQL URL ({_EXAMPLE}) nor a list of words like host=db dbname=knit"
        raise Misconfigured(message)
    return {match[1]: re.sub(r"\\(.)", r"\1", _unquote(match[2])) for match in found}


def _unquote(value: str) -> str:
    return value[1:-1] if value.startswith("'") else value


def _options(own: str, foreign: dict[str, str]) -> str:
    for key in foreign:
        if not SETTING.fullmatch(key):
            message = f"KNIT_DB_URL: {urlencode({key: ''})[:-1]!r} is not a connection parameter"
            raise Misconfigured(message)
    ours = {key: value for key, value in SERVER_SETTINGS.items() if key.lower() not in map(str.lower, foreign)}
    return " ".join([*(f"-c {key}={_escape(value)}" for key, value in (ours | foreign).items()), own]).strip()


def _escape(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)


_EXAMPLE = "postgres://user:password@host:5432/database"
