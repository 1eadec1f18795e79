"""When an attempt that is put off is gone on with."""

from __future__ import annotations

from datetime import datetime

from knit.core import choice, retry
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt
from knit.core.model.certificate import CertId
from knit.core.model.decision import Known
from knit.errors import BundleMismatch, OrderKept, RateLimited, Transient


def next_try(
    cert_id: CertId,
    known: Known,
    attempt: Attempt,
    error: Transient | BundleMismatch,
    now: datetime,
    *,
    elsewhere: bool,
    others: bool,
) -> datetime:
    """When this is tried again: the first of these that holds says it.

    - the CA is down or limits us, and another may be asked (`elsewhere`): the first step of the ladder of failures
    - a limit of a CA or a DNS provider: the ladder of limits, by the attempt's own tries
    - an order that is kept, or whose certificate is not fit: the ladder of failures, by the attempt's own tries
    - anything else: the ladder of failures

    But for the first, Retry-After only makes the wait longer. Where the certificate has other issuers (`others`), it is
    not longer than to the end of the order, when one of them may be asked.
    """
    if elsewhere:
        return retry.next_try(cert_id, 1, now)
    if isinstance(error, RateLimited):
        return retry.limited(known.tries + 1, now, error.retry_at)
    failures = known.state.failures + 1
    if isinstance(error, OrderKept | BundleMismatch):
        failures = 1 if attempt.step in BEFORE_FINALIZE else known.tries + 1
    ladder = retry.next_try(cert_id, failures, now)
    asked = error.retry_at if isinstance(error, Transient) else None
    at = ladder if asked is None else max(ladder, retry.next_try(cert_id, failures, now, asked))
    over_at = choice.over_at(attempt)
    return min(at, over_at) if others and over_at is not None and over_at > now else at
