"""Connections to Valkey: explicit timeouts, few retries, and every foreign error renamed without its text.

redis-py is the client. Its exceptions may quote the command that failed (a pipeline's always do, and the command
may hold a private key), so only the server's error code crosses this border, never the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    MaxConnectionsError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from knit.errors import KnitError, Misconfigured, Outage
from knit.valkey.replies import NO_DATABASE, OUT_OF_RANGE
from knit.valkey.site import KNOWN, TIMEOUT, Site

_COMMAND = re.compile(r"permissions to run the '([a-z|_-]{1,40})' command|unknown command '([A-Za-z|_-]{1,40})'")
"""The only part of an error's text that is looked at: the name of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One client of a server. Threads may share it."""

    client: redis.Redis
    site: Site

    @property
    def where(self) -> str:
        """The server in messages."""
        return self.site.where

    @property
    def place(self) -> str:
        """The same with the number of the database."""
        return self.site.place

    @contextmanager
    def talking(self) -> Iterator[redis.Redis]:
        """The client; its errors come out as Outage, ServerDenied or Refused."""
        try:
            yield self.client
        except RedisError as error:
            failure = self.failure(error)
            if isinstance(failure, Outage):
                self.hang_up()
            raise failure from None

    def hang_up(self) -> None:
        """Leave the connections that nobody uses, so that the next command asks anew who is behind the address.

        After a planned failover the old primary goes on as a replica, and keeps whoever is connected to it.
        """
        self.client.connection_pool.disconnect(inuse_connections=False)

    def failure(self, error: BaseException) -> KnitError:
        """The knit error for a redis-py one."""
        if isinstance(error, ResponseError | AuthenticationError | NoPermissionError):
            return self.answered(_code(error), _command(error))
        if isinstance(error, MaxConnectionsError):
            return Outage(f"Valkey at {self.where}: too many connections in this process")
        return self._silent(error)

    def answered(self, code: str, command: str | None = None) -> KnitError:
        """The knit error for a reply that is an error of this code, about this command."""
        return self.site.answered(code, command)

    def _silent(self, error: BaseException) -> KnitError:
        # A failing connect may wrap the password error or LOADING of its own handshake.
        cause = getattr(error, "status_code", None)
        if isinstance(cause, str) and cause in KNOWN:
            return self.answered(cause)
        return Outage(f"Valkey at {self.where} does not answer ({_system_said(error) or type(error).__name__})")

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def connect(url: str, *, name: str, retries: int = 2, setting: str = "KNIT_VALKEY_URL") -> Link:
    """A link that opens its first connection at the first command. Raises Misconfigured for a bad URL, from `setting`.

    Retries are for lost connections: every command knit sends may be sent twice.
    """
    site = Site.of(url, name=name, setting=setting)
    server = site.server
    arguments: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, **server.arguments}
    try:
        client = redis.Redis.from_url(
            server.url,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
            # Unlike a client name, this is no condition: a user without that right is served all the same.
            driver_info=DriverInfo(name=name),
            encoding_errors="surrogateescape",
            max_connections=1000,
            **arguments,
        )
    except (ValueError, TypeError, RedisError):
        # The text may quote the URL.
        raise Misconfigured(f"{setting}: the URL is not valid: an option of it has no such value") from None
    return Link(client=client, site=site)


def server_run_id(link: Link) -> str:
    """What tells this server process from every other one."""
    return str(_info(link, "server")["run_id"])


def same_server(one: Link, other: Link) -> bool:
    """Whether two URLs lead to one server, whatever names or database numbers they use."""
    return server_run_id(one) == server_run_id(other)


def check_keeps_values(link: Link) -> list[str]:
    """Make sure that the server does not throw values away; returns what is worth a warning.

    Raises Misconfigured when it evicts keys.
    """
    memory = _info(link, "memory")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and memory.get("maxmemory"):
        message = f"Valkey at {link.where} may evict certificates (maxmemory-policy {policy}): set it to noeviction"
        raise Misconfigured(message)
    warnings = []
    if policy != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: set it to noeviction before setting maxmemory")
    if not _info(link, "persistence").get("aof_enabled"):
        warnings.append("appendonly is off: a crash of Valkey loses keys that exist nowhere else in the centre")
    return warnings


def _info(link: Link, section: str) -> dict[str, object]:
    with link.talking() as client:
        return cast("dict[str, object]", client.info(section))


def _system_said(error: BaseException) -> str | None:
    """What the system has said of the connection, if it is what failed."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError):
        return cause.strerror
    return None if cause is None else _system_said(cause)


def _code(error: BaseException) -> str:
    # A script's own rights are checked call by call, and the reply then has no code of its own.
    if "ACL failure in script" in str(error):
        return "NOPERM"
    if OUT_OF_RANGE in str(error):
        return NO_DATABASE
    known = getattr(error, "status_code", None)
    word = known if isinstance(known, str) else str(error).partition(" ")[0]
    return word if word.isascii() and word.isalpha() and word.isupper() else type(error).__name__


def _command(error: BaseException) -> str | None:
    """The command that was refused, where the server names it: no argument of it, which may be a key."""
    found = _COMMAND.search(str(error))
    return None if found is None else found[1] or found[2]
