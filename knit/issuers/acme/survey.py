"""What a CA says of itself, without an order: nothing is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from knit.core.model.account import Account
from knit.core.offer import CaOffer
from knit.core.proxy import Proxies
from knit.core.text import clean
from knit.errors import Misconfigured
from knit.issuers.acme.hosts import Hosts
from knit.issuers.acme.network import Network
from knit.issuers.acme.origin import Origin, trust
from knit.issuers.acme.problems import ProblemReply, error_of
from knit.issuers.acme.transport import Connection
from knit.issuers.acme.upkeep import AccountStatus, standing
from knit.issuers.acme.wire import Directory
from knit.ports.process import Clock, Sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A CA, and how to get there. What asks it raises Misconfigured, CredentialsRejected, Unreachable, Interrupted."""

    directory: str
    ca_files: tuple[str, ...]
    proxies: Proxies
    clock: Clock
    sleep: Sleep

    def caa_identities(self) -> frozenset[str]:
        """Under which names it looks for itself in CAA records (RFC 8555 section 7.1.1); empty when it does not say."""
        with self.reading() as (_, found):
            return found.caa_identities

    def offered(self, account: Account | None, *, bound: bool) -> CaOffer:
        """What it offers, and what it says of our account."""
        with self.reading() as (network, found):
            uri = None if account is None else account.uri
            stands = AccountStatus() if account is None or uri is None else standing(network, found, account)
            return CaOffer(
                terms_of_service=found.terms_of_service,
                wants_binding=found.account_binding,
                bound=bound,
                profiles=tuple(sorted(clean(name, 60) for name in found.profiles)),
                renewal_info=found.renewal_info is not None,
                account=uri,
                status=stands.status,
                objection=stands.objection,
            )

    @contextmanager
    def reading(self) -> Iterator[tuple[Network, Directory]]:
        """A way to the CA, and its directory; problems that it has with requests come out as knit's errors."""
        try:
            origin = Origin.of(self.directory)
        except ValueError:
            raise Misconfigured(f"directory {self.directory!r}: an https URL is needed") from None

        def connection(to: Origin) -> Connection:
            return Connection(to, trust(self.ca_files), self.sleep, self.proxies.of(to.host, to.port))

        network = Network(connection, Hosts(origin), self.clock, self.sleep)
        try:
            yield network, Directory.from_reply(network.get(self.directory), Hosts(origin))
        except ProblemReply as refused:
            raise error_of(refused.problem) from None
        finally:
            network.close()
