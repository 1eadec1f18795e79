"""What one thread needs to work with the CA: its own network, and what all threads share."""

from __future__ import annotations

from dataclasses import dataclass

from knit.core.model.account import Account
from knit.issuers.acme.hosts import Hosts
from knit.issuers.acme.jws import Signer
from knit.issuers.acme.network import Network
from knit.issuers.acme.polling import Poller
from knit.issuers.acme.wire import Authorization, Directory, Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The CA as one thread sees it. `deactivates`: proofs of control are given up once they have served."""

    network: Network
    directory: Directory
    account: Account
    signer: Signer
    poller: Poller
    deactivates: bool = False

    @property
    def hosts(self) -> Hosts:
        """The hosts that are spoken to."""
        return self.directory.hosts

    def order(self, url: str) -> Order:
        """Read an order. Raises ProblemReply, Unreachable."""
        return Order.from_reply(self.network.post(url), self.hosts, url)

    def authorization(self, url: str) -> Authorization:
        """Read an authorization. Raises ProblemReply, Unreachable."""
        return Authorization.from_reply(self.network.post(url), self.hosts, url)
