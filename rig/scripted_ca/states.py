"""The state machines of RFC 8555 section 7.1.6, as pure functions over frozen records.

Each function gives the record that follows; none reads a clock, none stores.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from rig.scripted_ca.problems import Kind, Refusal, document

Problem: TypeAlias = dict[str, Any]


class Status(StrEnum):
    """Every status word of orders, authorizations, challenges and accounts."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to prove control of a name."""

    id: str
    type: str
    token: str
    status: Status = Status.PENDING
    validated: datetime | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authz:
    """Control of one name by one account; `order_names` is the name set of the order it was made for."""

    id: str
    account: str
    name: str
    wildcard: bool
    expires: datetime
    order_names: tuple[str, ...]
    challenges: tuple[Challenge, ...]
    status: Status = Status.PENDING

    def challenge(self, challenge_id: str) -> Challenge | None:
        return next((item for item in self.challenges if item.id == challenge_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One wish for a certificate; `polls_left` readings are still answered `processing`."""

    id: str
    account: str
    names: tuple[str, ...]
    authzs: tuple[str, ...]
    expires: datetime
    status: Status = Status.PENDING
    profile: str | None = None
    replaces: str | None = None
    certificate: str | None = None
    error: Problem | None = None
    polls_left: int = 0


def attempted(authz: Authz, challenge_id: str) -> Authz:
    """Begin to validate; raise Refusal when the challenge or its authorization is not pending any more."""
    challenge = authz.challenge(challenge_id)
    if authz.status is not Status.PENDING or challenge is None or challenge.status is not Status.PENDING:
        status = challenge.status if challenge else authz.status
        raise Refusal(Kind.MALFORMED, f"Cannot update challenge with status {status}, only status pending")
    changed = replace(challenge, status=Status.PROCESSING)
    return replace(authz, challenges=tuple(changed if item.id == challenge_id else item for item in authz.challenges))


def proved(authz: Authz, challenge_id: str, now: datetime) -> Authz:
    """Validation went well. Only the challenge that was validated stays listed (section 7.1.4)."""
    return _settled(authz, challenge_id, Status.VALID, validated=now)


def disproved(authz: Authz, challenge_id: str, error: Problem) -> Authz:
    """Validation failed for good. Only the challenge that failed stays listed."""
    return _settled(authz, challenge_id, Status.INVALID, error=error)


def deactivated(authz: Authz) -> Authz:
    """Give up an authorization; raise Refusal unless it is pending or valid."""
    if authz.status not in (Status.PENDING, Status.VALID):
        raise Refusal(Kind.MALFORMED, f"cannot deactivate an authorization that is {authz.status}")
    return replace(authz, status=Status.DEACTIVATED)


def aged(authz: Authz, now: datetime) -> Authz:
    """Let time pass over an authorization: a valid one expires, a pending one becomes invalid."""
    if now < authz.expires or authz.status not in (Status.PENDING, Status.VALID):
        return authz
    return replace(authz, status=Status.EXPIRED if authz.status is Status.VALID else Status.INVALID)


def advanced(order: Order, authzs: list[Authz], now: datetime) -> Order:
    """Let an order follow its authorizations and the time."""
    if order.status not in (Status.PENDING, Status.READY):
        return order
    if now >= order.expires:
        return failed(order, document(Kind.MALFORMED, "the order has expired", 400))
    if order.status is Status.READY:
        return order
    lost = next((item for item in authzs if item.status not in (Status.PENDING, Status.VALID)), None)
    if lost is not None:
        return failed(order, _loss(lost))
    ready = all(item.status is Status.VALID for item in authzs)
    return replace(order, status=Status.READY) if ready else order


def finalizing(order: Order, polls: int) -> Order:
    """Accept a CSR; raise Refusal (orderNotReady) unless the order is ready (section 7.4)."""
    if order.status is not Status.READY:
        raise Refusal(Kind.ORDER_NOT_READY, f"the order is {order.status}, not ready")
    return replace(order, status=Status.PROCESSING, polls_left=polls)


def polled(order: Order) -> Order:
    """Count one reading of an order that is processing."""
    if order.status is not Status.PROCESSING:
        return order
    return replace(order, polls_left=max(0, order.polls_left - 1))


def issued(order: Order, certificate: str) -> Order:
    """The certificate exists."""
    return replace(order, status=Status.VALID, certificate=certificate, polls_left=0)


def failed(order: Order, error: Problem) -> Order:
    """The order is lost, for the reason given."""
    return replace(order, status=Status.INVALID, error=error)


def _settled(
    authz: Authz, challenge_id: str, status: Status, *, validated: datetime | None = None, error: Problem | None = None
) -> Authz:
    challenge = authz.challenge(challenge_id)
    if authz.status is not Status.PENDING or challenge is None or challenge.status is not Status.PROCESSING:
        return authz
    settled = replace(challenge, status=status, validated=validated, error=error)
    return replace(authz, status=status, challenges=(settled,))


def _loss(authz: Authz) -> Problem:
    error = next((item.error for item in authz.challenges if item.error), None)
    detail = f"the authorization for {authz.name} is {authz.status}"
    return error or document(Kind.UNAUTHORIZED, detail, 403)
