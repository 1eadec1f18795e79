"""Issues under a CA that is made for one certificate, and whose key is forgotten once it has signed it."""

from __future__ import annotations

from datetime import timedelta

from cryptography.hazmat.primitives import serialization

from knit.core import ca_signing, new_ca
from knit.core.ca_signing import CertTemplate
from knit.core.keys import new_key
from knit.core.model.attempt import IssueRequest
from knit.core.model.keys import KeyType
from knit.errors import Refused
from knit.issuers.serials import new_serial
from knit.ports.issuing import Keep
from knit.ports.journal import Journal
from knit.ports.process import Clock
from knit.ports.solving import Prover


class SelfSignedIssuer:
    """See ports.Issuer. Who wants to trust such a certificate in a trial trusts the second one of its chain."""

    proves = False
    roots = b""

    def __init__(self, name: str, lifetime: timedelta, clock: Clock) -> None:
        self.name = name
        self._lifetime, self._clock = lifetime, clock

    def issue(self, request: IssueRequest, journal: Journal, prover: Prover, keep: Keep = lambda _: None) -> bytes:
        """See ports.Issuer. A killed attempt issues another: nobody counts them."""
        for what, asked in (("profile", request.profile), ("preferred chain", request.preferred_chain)):
            if asked is not None:
                raise Refused(f"issuer {self.name} has no {what} {asked!r}: it is self-signed")
        journal.finalizing()
        chain = self._signed(request)
        keep(chain)
        return chain

    def close(self) -> None:
        """See ports.Issuer."""

    def _signed(self, request: IssueRequest) -> bytes:
        now = self._clock()
        once = new_ca.root(
            f"knit trial {new_serial():032x}",
            new_key(KeyType.EC256),
            new_serial(),
            now=now,
            lifetime=self._lifetime,
            permitted=tuple(dict.fromkeys(name.removeprefix("*.") for name in request.names)),
            path_length=0,
        )
        valid = ca_signing.dates(now, self._lifetime, once.chain.begins, once.chain.ends)
        if valid is None:
            raise Refused(f"issuer {self.name}: a lifetime of {self._lifetime} is too short")
        plan = CertTemplate(serial=new_serial(), names=request.names, not_before=valid[0], not_after=valid[1])
        leaf = ca_signing.leaf(once, request.csr_der, plan)
        return leaf + once.chain.issuing.public_bytes(serialization.Encoding.PEM)
