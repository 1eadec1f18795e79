"""Under which names a CA looks for itself in CAA records."""

from __future__ import annotations

from knit.core.proxy import Proxies
from knit.errors import Misconfigured
from knit.issuers.acme.hosts import Hosts
from knit.issuers.acme.network import Network
from knit.issuers.acme.origin import Origin, trust
from knit.issuers.acme.problems import ProblemReply, error_of
from knit.issuers.acme.transport import Connection
from knit.issuers.acme.wire import Directory
from knit.ports.process import Clock, Sleep


def caa_identities(
    directory: str, ca_files: tuple[str, ...], clock: Clock, sleep: Sleep, proxies: Proxies
) -> frozenset[str]:
    """What its directory says (RFC 8555 section 7.1.1: caaIdentities); empty when it does not say.

    Raises Misconfigured, Unreachable, Interrupted.
    """
    try:
        origin = Origin.of(directory)
    except ValueError:
        raise Misconfigured(f"KNIT_ACME_DIRECTORY: {directory!r}: an https URL is needed") from None

    def connection(to: Origin) -> Connection:
        return Connection(to, trust(ca_files), sleep, proxies.of(to.host, to.port))

    network = Network(connection, Hosts(origin), clock, sleep)
    try:
        return Directory.from_reply(network.get(directory), Hosts(origin)).caa_identities
    except ProblemReply as refused:
        raise error_of(refused.problem) from None
    finally:
        network.close()
