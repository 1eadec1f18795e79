"""Whether a certificate is due, and why; else until when it is not."""

from __future__ import annotations

from datetime import datetime, timedelta

from knit.core import ari
from knit.core.model.certificate import CertSpec, Issued
from knit.core.model.decision import CertState, Due, Policy, Reason, Rules, Wait
from knit.core.retry import fraction

DEFAULT_THRESHOLD = timedelta(days=30)
# A request is made with the present time; one from the future, by whatever hand, would ask again and again.
CLOCKS_APART = timedelta(hours=1)
SHORT_LIFE = timedelta(days=10)
JITTER_SHARE = 90
NOT_DUE = "not due"
LOST_AGAIN = "its published value is lost again: it is not ordered anew more than twice in 7 days"
SOON = timedelta(days=3)
"""A certificate with less life left comes before others, and has more room in a CA's limits."""


def decide(spec: CertSpec, state: CertState, rules: Rules, now: datetime) -> Due | Wait:
    """Due with the reason, or Wait with the instant at which to look again, by the terms of this certificate's issuers.

    A failed certificate waits for its next try whatever makes it due; a request for renewal has cleared that
    instant before it gets here.
    """
    reason = _reason(spec, state, rules, now)
    if isinstance(reason, datetime):
        return Wait(until=reason, reason=LOST_AGAIN if held_back(state, now) else NOT_DUE)
    if state.retry_at is not None and state.retry_at > now:
        return Wait(until=state.retry_at, reason=f"next try after a failure ({reason})")
    return Due(reason=reason)


def _reason(spec: CertSpec, state: CertState, rules: Rules, now: datetime) -> Reason | datetime:
    if state.attempt is not None:
        return Reason.UNFINISHED
    if state.issued is None:
        return Reason.NEVER_ISSUED
    changed = _changed(spec, state.issued, rules)
    return changed or _timely(spec, state, state.issued, rules.policy, now)


def _changed(spec: CertSpec, issued: Issued, rules: Rules) -> Reason | None:
    if spec.names_key != issued.names_key:
        return Reason.NAMES_CHANGED
    asked = rules.asked(spec, issued.directory)
    if asked is None:
        return _elsewhere(spec, issued, rules)
    differences = (
        (asked.key_type != issued.key_type, Reason.KEY_TYPE_CHANGED),
        (asked.profile != issued.profile, Reason.PROFILE_CHANGED),
        (asked.preferred_chain != issued.preferred_chain, Reason.CHAIN_CHANGED),
    )
    return next((reason for differs, reason in differences if differs), None)


def _elsewhere(spec: CertSpec, issued: Issued, rules: Rules) -> Reason | None:
    """Why it comes from none of its issuers. Of one that is not known here, nobody can say where it is."""
    wanted = rules.terms_of(spec)
    if issued.issuer in (terms.name for terms in wanted):
        return Reason.DIRECTORY_CHANGED
    return Reason.ISSUER_CHANGED if wanted or issued.issuer not in spec.issuers else None


def _timely(spec: CertSpec, state: CertState, issued: Issued, policy: Policy, now: datetime) -> Reason | datetime:
    if not state.published and not held_back(state, now):
        return Reason.NOT_PUBLISHED
    if spec.requested_at is not None and issued.issued_at < spec.requested_at <= now + CLOCKS_APART:
        return Reason.REQUESTED
    at, reason = turn(spec, state, issued, policy)
    if at <= now:
        return reason
    return min(at, state.reorder_at) if state.reorder_at is not None and held_back(state, now) else at


def turn(spec: CertSpec, state: CertState, issued: Issued, policy: Policy) -> tuple[datetime, Reason]:
    """When its time comes, and by whose word: the CA's (RFC 9773), or the rule of the lifetime.

    The CA's goes before that rule, up to the last call, while its last answer is not stale; a share of life that a
    person asks for makes it sooner, never later.
    """
    start = window_start(spec, issued, policy)
    if state.ari_at is None:
        return start, Reason.WINDOW
    suggested = _rested(state.ari_at, state, issued)
    latest = start
    if spec.renew_before is None and policy.threshold is None and state.ari_checked_at is not None:
        latest = max(start, min(ari.last_call(issued), state.ari_checked_at + ari.STALE))
    return (suggested, Reason.ARI) if suggested <= latest else (latest, Reason.WINDOW)


def _rested(suggested: datetime, state: CertState, issued: Issued) -> datetime:
    """Where a CA would have each new one renewed at once: two in a week, and then one for each third of a life."""
    third = issued.not_before + (issued.not_after - issued.not_before) / 3
    return suggested if state.ari_again_at is None else max(suggested, min(state.ari_again_at, third))


def held_back(state: CertState, now: datetime) -> bool:
    """Whether its value is lost, and was ordered anew so often lately that it is not now."""
    return not state.published and state.reorder_at is not None and state.reorder_at > now


def rank(state: CertState, now: datetime) -> tuple[bool, datetime]:
    """What comes first when workers are few: what has not failed, and of that what expires sooner.

    One that was never issued comes with those that expire in `SOON`.
    """
    return state.failures > 0, now + SOON if state.issued is None else state.issued.not_after


def may_wait(state: CertState, now: datetime) -> bool:
    """Whether a retry leaves the threads to others first: it has failed before, and nothing published runs out soon."""
    return state.failures > 0 and not expires_soon(state, now)


def expires_soon(state: CertState, now: datetime) -> bool:
    """Whether what is published does."""
    return state.issued is not None and state.issued.not_after <= now + SOON


def window_start(spec: CertSpec, issued: Issued, policy: Policy) -> datetime:
    """When less than the wanted share of life is left, a little later for each certificate by its id."""
    life = issued.not_after - issued.not_before
    explicit = spec.renew_before or policy.threshold
    if explicit is not None:
        start = max(issued.not_after - explicit, issued.not_before + life / 3)
    else:
        start = issued.not_after - min(DEFAULT_THRESHOLD, life / 2 if life < SHORT_LIFE else life / 3)
    spread = min(life / JITTER_SHARE, (issued.not_after - start) / 4)
    return start + spread * fraction(spec.id, "window")
