"""A Valkey server: its URL, how it is called in messages, and what its errors mean. No client is needed for that."""

from __future__ import annotations

from dataclasses import dataclass, field

from knit.errors import ForeignValkey, KnitError, Misconfigured, Outage, Refused, ServerDenied
from knit.valkey.replies import NO_DATABASE
from knit.valkey.url import Server, parse

FOREIGN = "FOREIGN"
"""The code by which our scripts say that the server belongs to another installation."""

TIMEOUT = 5.0
"""Seconds to connect, and to wait for any reply."""

_PASSING = frozenset(
    {
        "BUSY",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNKILLABLE",
    },
)
"""Replies of a server that will serve again once it is repaired, filled up or failed over."""

_DENIED = frozenset({"DENIED", "NOAUTH", "NOPERM", "WRONGPASS"})

_CLUSTER = frozenset({"ASK", "CLUSTERDOWN", "CROSSSLOT", "MOVED"})

KNOWN = _DENIED | _PASSING | _CLUSTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One server, by its URL; `name` is what its operator sees of us."""

    server: Server = field(repr=False)
    name: str

    @classmethod
    def of(cls, url: str, *, name: str, setting: str = "KNIT_VALKEY_URL") -> Site:
        """Raises Misconfigured for a bad URL, from `setting`."""
        try:
            return cls(server=parse(url), name=name)
        except Misconfigured as error:
            raise Misconfigured(f"{setting}: {error}") from None

    @property
    def where(self) -> str:
        """The server in messages: host and port, no credentials."""
        return self.server.where

    @property
    def place(self) -> str:
        """The same with the number of the database."""
        return f"{self.where}/{self.server.database}"

    def answered(self, code: str, command: str | None = None) -> KnitError:
        """The knit error for a reply that is an error of this code, about this command."""
        if code in _DENIED:
            named = code if command is None else f"{code}: {command}"
            return ServerDenied(f"Valkey at {self.where} does not accept our user, password or rights ({named})")
        if code in _CLUSTER:
            needs = "knit changes several keys in one transaction, which needs a server without cluster mode"
            return Refused(f"Valkey at {self.where} is in cluster mode ({code}): {needs}")
        if code in _PASSING:
            return Outage(f"Valkey at {self.where} cannot serve now ({code})")
        if code == FOREIGN:
            return ForeignValkey(f"the Valkey at {self.where} no longer belongs to this installation")
        what = f"refused a command ({code})" if command is None else f"does not know the command {command.upper()}"
        if code == NO_DATABASE:
            what = f"has no database {self.place.rpartition('/')[2]}"
        return Refused(f"Valkey at {self.where} {what}")
