"""Proving control of an order's names: only what is pending, all of it at once, and valid afterwards or no order."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

from knit.core.model.challenge import Challenge
from knit.errors import IdentifierRejected, Transient, Unreachable
from knit.issuers.acme.hosts import Garbled
from knit.issuers.acme.jws import Signer, txt_value
from knit.issuers.acme.polling import ANSWER, GIVING_UP, VALIDATION, Waiting
from knit.issuers.acme.problems import ProblemReply, rejection
from knit.issuers.acme.session import Session
from knit.issuers.acme.transport import Reply
from knit.issuers.acme.wire import INVALID, PENDING, VALID, Authorization, DnsChallenge, Order
from knit.ports.solving import Prover

log = logging.getLogger(__name__)

EMPTY: Final = b"{}"
DEACTIVATED: Final = b'{"status":"deactivated"}'
OVER: Final = frozenset({INVALID, "deactivated", "expired", "revoked"})
"""What an authorization never comes back from (RFC 8555 section 7.1.6)."""


def prove(session: Session, order: Order, names: Collection[str], prover: Prover) -> None:
    """Return when every authorization of the order, which is one for these names, is valid.

    Raises IdentifierRejected with the CA's reason, what the prover raises, ProblemReply, Unreachable.
    """
    found = [session.authorization(url) for url in order.authorizations()]
    pending = [authorization for authorization in found if authorization.status == PENDING]
    for authorization in found:
        if authorization.status not in (PENDING, VALID):
            raise _lost(authorization)
    wanted = {_challenge(_expected(item, names), session.signer): item for item in pending}
    for challenges in prover.rounds(tuple(wanted)) if wanted else ():
        with prover.proving(challenges):
            _settle(session, [wanted[challenge] for challenge in challenges])


def deactivate(session: Session, order: Order) -> None:
    """Give up what the order has proved, as far as the CA goes along: nobody has a certificate by it any more.

    The certificate is there, so nothing that happens here matters; at the first refusal it is left at that.
    """
    waiting = session.poller.begin(GIVING_UP, "the end of its proofs")
    try:
        for url in order.authorizations():
            if waiting.is_over():
                return
            session.network.post_once(url, DEACTIVATED)
    except (ProblemReply, Transient) as error:
        log.debug("authorizations left to expire", extra={"order": order.url, "reason": str(error)})


def lost_proof(session: Session, order: Order) -> str | None:
    """Which proof of the order is over, and why; None where the CA shows none that is."""
    waiting = session.poller.begin(ANSWER, "the state of its proofs")
    try:
        for url in order.authorizations():
            found = session.authorization(url)
            if found.status in OVER:
                return str(_lost(found))
            if waiting.is_over():
                break
    except (ProblemReply, Unreachable) as error:
        log.debug("proofs of an order not known", extra={"order": order.url, "reason": str(error)})
    return None


def _expected(authorization: Authorization, names: Collection[str]) -> Authorization:
    if authorization.subject in names:
        return authorization
    message = f"the CA wants proof for {authorization.subject[:260]!r}, which was not ordered: refused"
    raise Garbled(message)


def _offer(authorization: Authorization) -> DnsChallenge:
    if authorization.challenge is None:
        message = f"{authorization.subject}: the CA offers no dns-01 challenge for this name"
        raise IdentifierRejected(message)
    return authorization.challenge


def _challenge(authorization: Authorization, signer: Signer) -> Challenge:
    token = _offer(authorization).token
    key_authorization = signer.key_authorization(token)
    return Challenge(
        identifier=authorization.name or "",
        value=txt_value(key_authorization),
        token=token,
        key_authorization=key_authorization,
    )


def _answer(session: Session, authorization: Authorization, offer: DnsChallenge) -> None:
    if offer.status != PENDING:
        return
    try:
        session.network.post(offer.url, EMPTY)
    except ProblemReply:
        # A repeated answer is refused once the first one, its reply lost, has been acted on.
        again = session.authorization(authorization.url)
        if again.status == PENDING and (again.challenge is None or again.challenge.status == PENDING):
            raise


def _settle(session: Session, pending: Sequence[Authorization]) -> None:
    for authorization in pending:
        _answer(session, authorization, _offer(authorization))
    waiting = session.poller.begin(VALIDATION, f"the validation of {', '.join(item.subject for item in pending[:3])}")
    for authorization in pending:
        settled = _decided(session, waiting, authorization.url)
        if settled.status != VALID:
            raise _lost(settled)


def _decided(session: Session, waiting: Waiting, url: str) -> Authorization:
    def look() -> tuple[Authorization, Reply]:
        reply = session.network.post(url)
        return Authorization.from_reply(reply, session.hosts, url), reply

    return waiting.until(look, lambda found: found.status != PENDING)


def _lost(authorization: Authorization) -> Exception:
    return rejection(f"{authorization.subject} (authorization {authorization.status})", authorization.error)
