"""What one thread needs to work with the CA: its own network, and what all threads share."""

from __future__ import annotations

from dataclasses import dataclass

from knit.issuers.acme.network import Network
from knit.issuers.acme.polling import Poller
from knit.issuers.acme.signing import Signer
from knit.issuers.acme.transport import Origin
from knit.issuers.acme.wire import Authorization, Directory, Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The CA as one thread sees it."""

    network: Network
    directory: Directory
    signer: Signer
    poller: Poller

    @property
    def origin(self) -> Origin:
        """The one host and port that is spoken to."""
        return self.network.origin

    def order(self, url: str) -> Order:
        """Read an order. Raises ProblemReply, Unreachable."""
        return Order.from_reply(self.network.post(url), self.origin, url)

    def authorization(self, url: str) -> Authorization:
        """Read an authorization. Raises ProblemReply, Unreachable."""
        return Authorization.from_reply(self.network.post(url), self.origin, url)
