"""Which hosts are the CA's: a request, with all that it says of us, goes to no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from knit.errors import IssuerDown
from knit.issuers.acme.origin import Origin


class Garbled(IssuerDown):
    """The CA's answer is not what RFC 8555 says it is. Asking again later may help; acting on it never would."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The host of the directory, and the others: those that the directory names, and those that the settings add."""

    home: Origin
    others: frozenset[Origin] = frozenset()

    def __str__(self) -> str:
        return str(self.home)

    def including(self, urls: Iterable[str]) -> Hosts:
        """These, and those of endpoints in the directory, which was asked of a host that the settings name."""
        return replace(self, others=self.others | {Origin.of(url) for url in urls} - {self.home})

    def holds(self, url: str) -> bool:
        """Whether this is an https URL, plain ASCII, at one of these hosts and ports."""
        return self.home.holds(url) or any(origin.holds(url) for origin in self.others)

    def own(self, url: object, what: str) -> str:
        """Give the URL back if it is https and at one of these; else raise Garbled."""
        if isinstance(url, str) and self.holds(url):
            return url
        message = f"the CA at {self} gave no https URL at its own host as {what}: refused{_way_out(url)}"
        raise Garbled(message)


def _way_out(url: object) -> str:
    try:
        named = "name it among the issuer's hosts (KNIT_ACME_HOSTS, or hosts in the file of issuers)"
        return f"; if {Origin.of(url)} is the CA's too, {named}" if isinstance(url, str) else ""
    except ValueError:
        return ""
