"""When a CA would have a certificate renewed (ACME renewal information, ARI: RFC 9773), and when it is asked again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from knit.core import retry
from knit.core.model.certificate import CertId, Issued
from knit.core.model.decision import CertState
from knit.core.text import clean

SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=1)
USUAL: Final = timedelta(hours=6)
"""Between two questions about one certificate, where the CA names no time: RFC 9773 section 4.3.3."""

OFTEN: Final = 8
"""How often at least a certificate is asked about in its life, where the CA names no time."""

SPREAD: Final = 0.1
"""Each certificate adds its own fraction of this to the wait, so that polls spread out."""

STALE: Final = timedelta(days=3)
"""For so long after the last answer the CA's word goes before the rule of the lifetime."""

MARGIN: Final = timedelta(days=2)
URL: Final = re.compile(r"https?://[!-~]{1,500}")


class Senseless(ValueError):
    """An answer that says nothing: as if there had been none (RFC 9773 section 4.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When the CA would have a certificate renewed, both ends aware. `explanation`: the URL of a page that says why."""

    start: datetime
    end: datetime
    explanation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a CA says of one certificate. `ask_again`: not before then, as it asks in Retry-After."""

    window: Window
    ask_again: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A certificate that its CA is to be asked about. `wanted`: it is enabled, published and has not expired.

    `failures` counts vain questions in a row, `first`: there was no answer about it yet.
    """

    cert_id: CertId
    ari_id: str
    issuer: str
    directory: str
    not_before: datetime
    not_after: datetime
    wanted: bool
    failures: int
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a question, and when to ask again. `window` and `chosen_at` as of its answer.

    `error` says why there is none: then what is known stays. Without both, the CA offers no renewal information: what
    is known goes.
    """

    question: Question
    next_poll_at: datetime
    window: Window | None = None
    chosen_at: datetime | None = None
    error: str | None = None


def window(document: object) -> Window:
    """Read a RenewalInfo object, any JSON value. Raises Senseless."""
    fields = _object(document)
    suggested = _object(fields.get("suggestedWindow"))
    start, end = (_instant(suggested.get(name), name) for name in ("start", "end"))
    if end <= start:
        message = f"the CA's suggested window ends at {end.isoformat()} and begins at {start.isoformat()}"
        raise Senseless(message)
    url = fields.get("explanationURL")
    return Window(start=start, end=end, explanation=url if isinstance(url, str) and URL.fullmatch(url) else None)


def chosen(ari_id: str, asked: Window, not_before: datetime, not_after: datetime) -> datetime:
    """The instant in the window at which this certificate is renewed: one of all, evenly, and always the same one.

    Of a window that is longer than the certificate's life only the part inside that life counts.
    """
    start, end = asked.start, min(asked.end, _last_call(not_before, not_after))
    if asked.end > not_before:
        start = max(start, not_before)
    if end <= start:
        return start
    text = f"{ari_id} {asked.start.isoformat()} {asked.end.isoformat()}"
    share = int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64
    return start + (end - start) * share


def last_call(issued: Issued) -> datetime:
    """The latest instant at which a renewal may begin, whatever the CA says: CAs are away for hours, at times."""
    return _last_call(issued.not_before, issued.not_after)


def _last_call(not_before: datetime, not_after: datetime) -> datetime:
    life = not_after - not_before
    return not_after - max(life / 20, min(life / 3, MARGIN))


def next_poll(cert_id: CertId, asked: datetime | None, life: timedelta, now: datetime, *, first: bool) -> datetime:
    """When to ask again about a certificate with this life, after an answer. `asked` is its Retry-After.

    The `first` wait of a certificate is up to twice as long (by six hours at most): many that are issued together are
    not asked about together from then on.
    """
    usual = min(USUAL, life / OFTEN) if asked is None else asked - now
    wait = min(max(usual, SHORTEST), LONGEST)
    more = min(wait, USUAL) if first else wait * SPREAD
    return now + wait + more * retry.fraction(cert_id, "renewal information")


def answered(question: Question, answer: Answer, now: datetime) -> Outcome:
    """The CA has said when."""
    one, life = question, question.not_after - question.not_before
    return Outcome(
        question=one,
        next_poll_at=next_poll(one.cert_id, answer.ask_again, life, now, first=one.first),
        window=answer.window,
        chosen_at=chosen(one.ari_id, answer.window, one.not_before, one.not_after),
    )


def unanswered(question: Question, error: str, now: datetime) -> Outcome:
    """The CA has not answered."""
    at = after_failure(question.cert_id, question.failures + 1, now)
    return Outcome(question=question, next_poll_at=at, error=error)


def not_offered(question: Question, now: datetime) -> Outcome:
    """The CA suggests times for no certificate; perhaps it will, some day."""
    return Outcome(question=question, next_poll_at=now + LONGEST)


def after_failure(cert_id: CertId, failures: int, now: datetime) -> datetime:
    """When to ask again after so many vain questions in a row (at least 1): after a minute, and up to six hours."""
    wait = min(SHORTEST * (1 << min(max(failures, 1) - 1, 20)), USUAL)
    return now + wait * (1 + SPREAD * retry.fraction(cert_id, f"renewal information {failures}"))


def replaced(state: CertState, directory: str, names: Iterable[str]) -> str | None:
    """The certificate that an order for these names at this directory is to replace (RFC 9773 section 5), by its id.

    None where the CA does not know it, it has no name among them, or the CA has refused that before.
    """
    issued = state.issued
    if issued is None or state.unreplaced or issued.directory != directory:
        return None
    return None if frozenset(names).isdisjoint(issued.names_key.split(",")) else issued.ari_id


def is_spared(state: CertState, directory: str, names: Iterable[str]) -> bool:
    """Whether such an order is made at the CA's word: it has said when it would have that certificate renewed."""
    return state.ari_checked_at is not None and replaced(state, directory, names) is not None


def _object(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    message = "the CA's renewal information names no window"
    raise Senseless(message)


def _instant(value: object, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = f"the {name} of the CA's suggested window is no instant: {clean(str(value), 60)!r}"
    raise Senseless(message)
