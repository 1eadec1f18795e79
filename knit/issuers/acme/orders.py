"""One issuance (RFC 8555 section 7.4): an order is made or gone on with, proved, finalized once, its chain downloaded.

Every step is in the journal before its effect, so that a process which dies anywhere in here leaves an order that the
next one goes on with.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from knit.core.chain import NoCertificates
from knit.core.model.attempt import IssueRequest
from knit.errors import IdentifierRejected, KnitError, NotOffered, OrderKept, OrderLost, RateLimited, Unreachable
from knit.issuers.acme.authorizations import deactivate, lost_proof, prove
from knit.issuers.acme.chains import download
from knit.issuers.acme.hosts import Garbled
from knit.issuers.acme.jws import b64
from knit.issuers.acme.polling import ANSWER, ISSUANCE
from knit.issuers.acme.problems import KEPT, NO_ACCOUNT, ProblemReply, kept, rejection
from knit.issuers.acme.session import Session
from knit.issuers.acme.transport import Reply
from knit.issuers.acme.wire import INVALID, PENDING, PROCESSING, READY, STATUSES, VALID, Order
from knit.ports.issuing import Keep
from knit.ports.journal import Journal
from knit.ports.solving import Prover

log = logging.getLogger(__name__)

T = TypeVar("T")

FINALIZE_TRIES: Final = 3
LIVING: Final = STATUSES - {INVALID}
UNKNOWN_ORDER: Final = frozenset({400, 401, 403, 404, 410})
FORGOTTEN_ORDER: Final = frozenset({400, 404, 410})


class UnexplainedOrder(OrderKept):
    """The CA calls an order that may be a certificate invalid, and does not say why; its proofs may."""

    def __init__(self, order: Order) -> None:
        super().__init__(f"the CA calls the order invalid without a reason; {KEPT}")
        self.order = order


@dataclass(frozen=True, slots=True)
class Issuance:
    """One request on its way through one session."""

    session: Session
    request: IssueRequest
    journal: Journal
    prover: Prover
    keep: Keep

    def run(self) -> bytes:
        """The chain, PEM. Raises ProblemReply besides what the port allows."""
        try:
            order, chain = self._issued()
        except UnexplainedOrder as error:
            raise self._explained(error) from None
        # First, for there are CAs that call an order invalid once its proofs are given up.
        self.keep(chain)
        if self.session.deactivates and not self.journal.shares_proofs():
            deactivate(self.session, order)
        return chain

    def _issued(self) -> tuple[Order, bytes]:
        order = self._ready(self._resumed() or self._ordered())
        with _keeping():
            return order, self._collected(self._finalized(order))

    def _explained(self, error: UnexplainedOrder) -> KnitError:
        """An order is over for certain where one of its proofs is."""
        lost = lost_proof(self.session, error.order)
        return OrderKept(str(error)) if lost is None else IdentifierRejected(f"the CA calls the order invalid; {lost}")

    def _ready(self, order: Order) -> Order:
        """With its names proved, and that in the journal, unless the CSR has been taken already."""
        if order.status == PENDING and not self.request.finalized:
            prove(self.session, order, self.request.names, self.prover)
        if order.status not in (PENDING, READY):
            return order
        with _keeping() if self.request.finalized else nullcontext():
            order = self._finalizable(order)
        self.journal.finalizing()
        return order

    def _finalizable(self, order: Order) -> Order:
        """The order with a place for the CSR, which some CAs tell only when it is time for it. Raises Garbled.

        Its names are proved, so it is ready, whatever a CA that is slow to see it says.
        """
        found = order if order.has_finalize else self._insist("the order", partial(self._read, order.url))
        found.finalize_url()
        return replace(found, status=READY) if found.status == PENDING or found is order else found

    def _resumed(self) -> Order | None:
        """The journal's order, or None when it can no longer lead to this certificate."""
        url = self.request.order_url
        if url is None:
            return None
        return self._kept(url) if self.request.finalized else self._open(url)

    def _open(self, url: str) -> Order | None:
        """One that has not been finalized costs nothing: whatever is wrong with it, another can be made."""
        if not self.session.hosts.holds(url):
            return None
        try:
            order = self._insist("the order", lambda: self.session.order(url))
        except ProblemReply as refused:
            if refused.problem.code == NO_ACCOUNT or refused.problem.status not in UNKNOWN_ORDER:
                raise
            log.warning("order is not known to the CA", extra={"order": url, "reason": str(refused)})
            return None
        if order.status in LIVING and self._is_ours(order):
            return order
        log.warning("order is of no use any more", extra={"order": url, "status": order.status})
        return None

    def _kept(self, url: str) -> Order:
        """One that may be a certificate already. Raises OrderLost when the CA itself does not know it any more."""
        with _keeping():
            own = self.session.hosts.own(url, "the order's URL")
            try:
                return self._insist("the order", partial(self._read, own))
            except ProblemReply as refused:
                if refused.problem.is_refusal and refused.problem.status in FORGOTTEN_ORDER:
                    message = f"the order that was finalized is gone: the CA says: {refused}"
                    raise OrderLost(message) from None
                raise kept(refused.problem) from None

    def _read(self, url: str) -> Order:
        return self._shown(self.session.network.post(url), url)

    def _shown(self, reply: Reply, url: str, *, refused: bool = False) -> Order:
        """What the CA says of an order that may be a certificate.

        Raises Garbled for another's order, and Unexplained for one that is over without a reason, unless the CSR has
        been refused with one.
        """
        order = Order.from_reply(reply, self.session.hosts, url)
        if not self._is_ours(order):
            message = "the CA shows the order as one for other names"
            raise Garbled(message)
        if order.status == INVALID and order.problem is None and not (refused or self.request.overdue):
            raise UnexplainedOrder(order)
        return order

    def _is_ours(self, order: Order) -> bool:
        return order.names in (None, frozenset(self.request.names))

    def _insist(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` gives, once the CSR may have been sent: an answer that makes no sense is asked for again."""
        waiting = self.session.poller.begin(ANSWER, f"{what} for {self.request.names[0]}")
        return waiting.insist(ask, _may_come)

    def _insisted(self, what: str, ask: Callable[[], T]) -> T:
        """The same, where no problem that the CA may have with the request says that the order is over."""
        try:
            return self._insist(what, ask)
        except ProblemReply as refused:
            raise kept(refused.problem) from None

    def _ordered(self) -> Order:
        """A new order, journalled before anything is asked of it."""
        if self.request.order_url is not None:
            self.journal.unordered()
        order = Order.from_reply(self._new_order(), self.session.hosts)
        self.journal.ordered(order.url, order.expires)
        if not self._is_ours(order):
            message = "the CA made an order for other names than were asked for: refused"
            raise Garbled(message)
        if order.status not in STATUSES:
            message = f"the CA made an order and calls it {order.status!r}"
            raise Garbled(message)
        if order.has_finalize:
            order.finalize_url()
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
            if not refused.problem.may_be_about_replacing:
                raise
            self.journal.unreplaced(str(refused))
            log.info("replacement refused", extra={"replaces": replaces, "error": str(refused)})
            return self._post_order(wanted)

    def _post_order(self, wanted: dict[str, object]) -> Reply:
        return self.session.network.post(self.session.directory.new_order, json.dumps(wanted).encode())

    def _offered(self, profile: str) -> str:
        profiles = self.session.directory.profiles
        if profile in profiles:
            return profile
        offers = f"it offers: {', '.join(sorted(profiles))}" if profiles else "it offers none"
        message = f"the CA at {self.session.hosts} has no profile {profile!r}; {offers}"
        raise NotOffered(message)

    def _finalized(self, order: Order) -> Order:
        """Send the CSR; again only while the CA shows that it has not taken it."""
        if order.status != READY:
            return order
        refused: ProblemReply | None = None
        repeated, said = self.request.finalized, ""
        for _ in range(FINALIZE_TRIES):
            try:
                return self._finalize(order)
            except (ProblemReply, Unreachable) as error:
                refused, said = _unless_wait(error), str(error)
            # The reply is lost or senseless, or one to a CSR that has arrived before: only the order tells.
            order = self._awaited(
                order, while_in=() if refused else (PENDING,), refused=refused is not None and not repeated
            )
            if _is_taken(order):
                return order
            if refused is not None and not repeated:
                raise refused
            repeated = True
            self.session.poller.sleep(ANSWER.first if refused is not None else 0)
        if refused is not None:
            raise refused
        message = f"the CA at {self.session.hosts} did not take the CSR ({said})"
        raise Unreachable(message)

    def _finalize(self, order: Order) -> Order:
        payload = json.dumps({"csr": b64(self.request.csr_der)}).encode()
        return self._shown(self.session.network.post_once(order.finalize_url(), payload), order.url)

    def _collected(self, order: Order) -> bytes:
        if order.status not in (VALID, INVALID) or order.certificate is None:
            order = self._awaited(order, while_in=(PENDING, READY, PROCESSING))
        if order.status == INVALID:
            raise self._rejected(order)
        if order.status != VALID:
            message = f"the CA at {self.session.hosts} calls the order {order.status!r} and gives no certificate"
            raise Garbled(message)
        return self._insisted("the certificate", partial(self._download, order.certificate_url()))

    def _rejected(self, order: Order) -> KnitError:
        """An order that is invalid never comes back: the next try needs another one."""
        error = rejection(f"order for {self.request.names[0]}", order.error)
        is_told_to_wait = isinstance(error, RateLimited) and not self.request.finalized
        return error if is_told_to_wait or isinstance(error, NotOffered) else IdentifierRejected(str(error))

    def _download(self, url: str) -> bytes:
        return download(self.session, url, self.request.csr_der, self.request.preferred_chain)

    def _awaited(self, order: Order, *, while_in: tuple[str, ...], refused: bool = False) -> Order:
        def look() -> tuple[Order, Reply]:
            reply = self.session.network.post(order.url)
            return self._shown(reply, order.url, refused=refused), reply

        def settled(found: Order) -> bool:
            return found.status not in while_in and (found.status != VALID or found.certificate is not None)

        waiting = self.session.poller.begin(ISSUANCE, f"the order for {self.request.names[0]}")
        return waiting.until(lambda: self._insisted("the order", look), settled)


@contextmanager
def _keeping() -> Iterator[None]:
    """Whatever cannot be had from here on, the order may be a certificate already."""
    try:
        yield
    except OrderKept:
        raise
    except Unreachable as error:
        raise OrderKept(f"{error}; {KEPT}", retry_at=error.retry_at) from error


def _unless_wait(error: ProblemReply | Unreachable) -> ProblemReply | None:
    """The error, where the CA refuses the CSR itself. Raises OrderKept when asking at once again is of no use."""
    if not isinstance(error, ProblemReply):
        return None
    if error.problem.is_wait:
        raise kept(error.problem) from None
    return error if error.problem.is_refusal else None


def _is_taken(order: Order) -> bool:
    """Whether the CSR has been taken, as far as the order tells: it may have ended with a refusal, too."""
    return order.status not in (PENDING, READY) and (order.status != INVALID or order.problem is not None)


def _may_come(error: Exception) -> bool:
    """Whether what the CA did not give may be there a moment later."""
    if isinstance(error, ProblemReply):
        return not error.problem.is_wait
    return isinstance(error, Garbled | NoCertificates | UnexplainedOrder)
