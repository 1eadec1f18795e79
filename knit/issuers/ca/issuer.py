"""The CA of our own as flows see it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from knit.core import ca_signing
from knit.core.ca_signing import CertTemplate
from knit.core.constraints import Subtrees, refusal
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle
from knit.core.own_ca import Authority
from knit.errors import AccountUnusable, IdentifierRejected, NotOffered, Refused
from knit.issuers.serials import new_serial
from knit.ports.ca_register import CaRegister
from knit.ports.issuing import Keep
from knit.ports.journal import Journal
from knit.ports.process import Clock
from knit.ports.solving import Prover

log = logging.getLogger(__name__)

ORDER: Final = "serial:"
NUMBERED: Final = re.compile(r"serial:([0-9a-f]{1,32})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaPolicy:
    """What it issues. `permitted` bounds the names besides the name constraints of its certificates."""

    lifetime: timedelta
    permitted: tuple[str, ...] | None = None
    client_auth: bool = False
    crl_url: str | None = None
    crl_lifetime: timedelta = timedelta(days=7)


class CaIssuer:
    """See the ports Issuer and Revoker.

    The order of an attempt is a serial number, journalled before anything is signed; what is signed under it is
    recorded before it is. So an attempt that is killed anywhere signs the same certificate again, and no other.
    """

    proves = False
    by_serial = True

    def __init__(
        self,
        name: str,
        authority: Authority,
        policy: CaPolicy,
        register: CaRegister,
        *,
        clock: Clock,
        serial: Callable[[], int] = new_serial,
    ) -> None:
        self.name = name
        self.roots = authority.chain.issuing.public_bytes(serialization.Encoding.PEM)
        self._authority, self._policy = authority, policy
        self._register, self._clock, self._serial = register, clock, serial
        own = Subtrees(source=f"issuer.{name}.permitted", permitted=policy.permitted)
        self._limits = (*authority.chain.limits, own)

    def issue(self, request: IssueRequest, journal: Journal, prover: Prover, keep: Keep = lambda _: None) -> bytes:
        """See ports.Issuer. Raises IdentifierRejected for other names than its own, AccountUnusable at its end."""
        self._check(request)
        begins, ends = self._valid()
        serial = _serial_of(request.order_url)
        if serial is None:
            serial = self._serial()
            journal.ordered(f"{ORDER}{serial:x}")
        plan = CertTemplate(serial=serial, names=request.names, not_before=begins, not_after=ends)
        journal.finalizing()
        plan = self._register.record(self._authority.chain.directory, request.cert_id, plan)
        policy = self._policy
        leaf = ca_signing.leaf(
            self._authority, request.csr_der, plan, client_auth=policy.client_auth, crl_url=policy.crl_url
        )
        chain = leaf + self._authority.chain.sent
        keep(chain)
        return chain

    def revoke(self, serial: str, reason: str, bundle: Bundle | None = None) -> datetime:
        """See the port Revoker. The next list has it. Raises Refused for a number that it has not issued."""
        if reason not in ca_signing.REASONS:
            raise Refused(f"reason {reason!r}: must be one of {', '.join(ca_signing.REASONS)}")
        return self._register.revoke(self._authority.chain.directory, int(serial, 16), reason)

    def crl(self) -> x509.CertificateRevocationList:
        """The next list of what is revoked. Raises Refused where the certificate does not allow it to sign lists."""
        authority = self._authority
        if not authority.chain.signs_lists:
            raise Refused(f"issuer {self.name}: its certificate may not sign lists of revoked ones (key usage cRLSign)")
        found = self._register.next_crl(authority.chain.directory)
        lifetime = self._policy.crl_lifetime
        return ca_signing.crl(authority, found.revoked, number=found.number, now=found.at, lifetime=lifetime)

    def close(self) -> None:
        """See ports.Issuer."""

    def _check(self, request: IssueRequest) -> None:
        for what, asked in (("profile", request.profile), ("preferred chain", request.preferred_chain)):
            if asked is not None:
                raise NotOffered(f"issuer {self.name} has no {what} {asked!r}: a CA of our own has none")
        if (why := refusal(request.names, self._limits)) is not None:
            raise IdentifierRejected(f"issuer {self.name}: {why}")

    def _valid(self) -> tuple[datetime, datetime]:
        chain, now = self._authority.chain, self._clock()
        valid = ca_signing.dates(now, self._policy.lifetime, chain.begins, chain.ends)
        if valid is None:
            span = f"from {chain.begins:%Y-%m-%dT%H:%M:%SZ} to {chain.ends:%Y-%m-%dT%H:%M:%SZ}"
            raise AccountUnusable(
                f"issuer {self.name}: its certificate is valid {span}: nothing is issued under it now"
            )
        if valid[1] == chain.ends:
            log.warning(
                "certificate ends with its CA", extra={"issuer": self.name, "ends": f"{chain.ends:%Y-%m-%dT%H:%M:%SZ}"}
            )
        return valid


def _serial_of(order: str | None) -> int | None:
    """Of an attempt that was begun here."""
    found = NUMBERED.fullmatch(order or "")
    return None if found is None else int(found[1], 16)
