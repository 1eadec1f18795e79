"""One issuance (RFC 8555 section 7.4): an order is made or gone on with, proved, finalized once, its chain downloaded.

Every step is in the journal before its effect, so that a process which dies anywhere in here leaves an order that the
next one goes on with.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import Final

from knit.core.model import IssueRequest
from knit.errors import Refused, Unreachable
from knit.issuers.acme.authorizations import prove
from knit.issuers.acme.chains import download
from knit.issuers.acme.polling import ISSUANCE
from knit.issuers.acme.problems import ProblemReply, rejection
from knit.issuers.acme.session import Session
from knit.issuers.acme.signing import b64
from knit.issuers.acme.transport import Reply
from knit.issuers.acme.wire import INVALID, PENDING, PROCESSING, READY, VALID, Garbled, Order
from knit.ports import Journal, Prover

log = logging.getLogger(__name__)

FINALIZE_TRIES: Final = 3
UNKNOWN_ORDER: Final = frozenset({400, 401, 403, 404, 410})
NOT_REPLACED: Final = frozenset({400, 403, 404, 409})


@dataclass(frozen=True, slots=True)
class Issuance:
    """One request on its way through one session."""

    session: Session
    request: IssueRequest
    journal: Journal
    prover: Prover

    def run(self) -> bytes:
        """The chain, PEM. Raises ProblemReply besides what the port allows."""
        order = self._resumed() or self._ordered()
        if order.status == PENDING:
            prove(self.session, order, self.prover)
            order = replace(order, status=READY)
        if order.status == READY:
            self.journal.finalizing()
            order = self._finalized(order)
        return self._collected(order)

    def _resumed(self) -> Order | None:
        """The journal's order, or None when it can no longer lead to this certificate."""
        url = self.request.order_url
        if url is None or not self.session.origin.holds(url):
            return None
        try:
            order = self.session.order(url)
        except ProblemReply as refused:
            if refused.problem.status not in UNKNOWN_ORDER or refused.problem.code == "accountDoesNotExist":
                raise
            log.warning("order is not known to the CA", extra={"order": url, "reason": str(refused)})
            return None
        if order.status == INVALID or order.names != frozenset(self.request.names):
            log.warning("order is of no use any more", extra={"order": url, "status": order.status})
            return None
        return order

    def _ordered(self) -> Order:
        """A new order, journalled before anything is asked of it."""
        order = Order.from_reply(self._new_order(), self.session.origin)
        self.journal.ordered(order.url)
        if order.names != frozenset(self.request.names):
            message = "the CA made an order for other names than were asked for: refused"
            raise Garbled(message)
        return order

    def _new_order(self) -> Reply:
        wanted: dict[str, object] = {"identifiers": [{"type": "dns", "value": name} for name in self.request.names]}
        if self.request.profile is not None:
            wanted["profile"] = self._offered(self.request.profile)
        replaces = self.request.replaces if self.session.directory.renewal_info is not None else None
        if replaces is None:
            return self._post_order(wanted)
        try:
            return self._post_order({**wanted, "replaces": replaces})
        except ProblemReply as refused:
            # Being told that this order replaces another is a courtesy: no certificate fails for want of it.
            if refused.problem.status not in NOT_REPLACED:
                raise
            log.info("CA does not take the order as a replacement", extra={"reason": str(refused)})
            return self._post_order(wanted)

    def _post_order(self, wanted: dict[str, object]) -> Reply:
        return self.session.network.post(self.session.directory.new_order, json.dumps(wanted).encode())

    def _offered(self, profile: str) -> str:
        profiles = self.session.directory.profiles
        if profile in profiles:
            return profile
        offers = f"it offers: {', '.join(sorted(profiles))}" if profiles else "it offers none"
        message = f"the CA at {self.session.origin} has no profile {profile!r}; {offers}"
        raise Refused(message)

    def _finalized(self, order: Order) -> Order:
        """Send the CSR; again only while the CA shows that it has not taken it."""
        for _ in range(FINALIZE_TRIES):
            order, taken = self._finalize(order)
            if taken:
                return order
        message = f"the CA at {self.session.origin} did not take the CSR; the order is kept"
        raise Unreachable(message)

    def _finalize(self, order: Order) -> tuple[Order, bool]:
        payload = json.dumps({"csr": b64(self.request.csr_der)}).encode()
        try:
            reply = self.session.network.post_once(order.finalize, payload)
        except ProblemReply as refused:
            if refused.problem.code != "orderNotReady" and not refused.momentary:
                raise
            order = self._awaited(order, while_in=(PENDING,))
        except Unreachable:
            # The reply is lost, perhaps not the request: only the order tells whether the CSR arrived.
            order = self.session.order(order.url)
        else:
            return Order.from_reply(reply, self.session.origin, order.url), True
        return order, order.status not in (PENDING, READY)

    def _collected(self, order: Order) -> bytes:
        if order.status not in (VALID, INVALID):
            order = self._awaited(order, while_in=(PENDING, READY, PROCESSING))
        if order.status == INVALID:
            raise rejection(f"order for {self.request.names[0]}", order.error)
        if order.status != VALID or order.certificate is None:
            message = f"the CA at {self.session.origin} calls the order {order.status!r} and gives no certificate"
            raise Garbled(message)
        return download(self.session, order.certificate, self.request.preferred_chain)

    def _awaited(self, order: Order, *, while_in: tuple[str, ...]) -> Order:
        def look() -> tuple[Order, Reply]:
            reply = self.session.network.post(order.url)
            return Order.from_reply(reply, self.session.origin, order.url), reply

        waiting = self.session.poller.begin(ISSUANCE, f"the order for {self.request.names[0]}")
        return waiting.until(look, lambda found: found.status not in while_in)
