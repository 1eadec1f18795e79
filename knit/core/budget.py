"""A CA's limits as token buckets: what an order costs, whether there is room for it now, and else when.

Each bucket is one instant, as in the generic cell rate algorithm (GCRA, ITU-T I.371): `full_at`, when it will be full
again. A charge moves it on by the time in which one token comes back; so nothing needs to run while time passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from knit.core import domains
from knit.core.limits import Limit, Model, Rate
from knit.core.model.certificate import Issued
from knit.core.model.decision import CertState, Wait
from knit.core.names import key_of
from knit.core.renewal import SOON, expires_soon

WAITS, URGENT, SLOW = 0.8, 1.0, 0.5
"""Shares of a bucket that may be used: by what can wait, by what expires soon, by what keeps failing."""

OFTEN: Final = 4
"""Failures in a row after which a certificate is in the slow lane: its tries are a day apart by then."""

REMEMBERED: Final = timedelta(days=90)
"""For so long a CA surely knows a set of names for one that it has issued. Let's Encrypt's own memory is longer."""

LONGEST_SUBJECT: Final = 200
TOGETHER: Final = timedelta(minutes=5)


class BucketKey(NamedTuple):
    """One bucket. `subject` is a registered domain or a set of names; of a limit of the account, ""."""

    directory: str
    limit: Limit
    subject: str


class Cost(NamedTuple):
    """One token of a bucket. It is held for an attempt, and spent once the CA has given the order or issued."""

    key: BucketKey
    rate: Rate


class Level(NamedTuple):
    """How full a bucket is. `held` tokens are spoken for by open attempts that have not spent them yet."""

    full_at: datetime
    held: int = 0


def costs(
    model: Model, directory: str, names: Sequence[str], *, renewal: bool = False, replaces: bool = False
) -> tuple[Cost, ...]:
    """What an order for these names costs.

    `renewal`: the CA has issued a certificate for exactly these names lately; `replaces`: the order says which one.
    """
    if replaces and model.spares_replaced:
        return ()
    counted = {limit: rate for limit, rate in model.rates.items() if not (renewal and limit in model.spared_renewals)}
    found = []
    for limit, rate in counted.items():
        found += [Cost(BucketKey(directory, limit, subject), rate) for subject in _subjects(limit, names)]
    return tuple(sorted(found, key=lambda cost: cost.key))


def _subjects(limit: Limit, names: Sequence[str]) -> tuple[str, ...]:
    match limit:
        case Limit.ORDERS:
            return ("",)
        case Limit.DOMAIN:
            return domains.of_names(names)
        case Limit.SET:
            return (subject_of_set(names),)
        case Limit.FAILURES:
            # Counted name by name in the journal, when the CA is asked to look.
            return ()


def subject_of_set(names: Sequence[str]) -> str:
    """The set as a bucket's subject: its names, or their beginning and their hash."""
    text = key_of(names)
    if len(text) <= LONGEST_SUBJECT:
        return text
    return f"{text[: LONGEST_SUBJECT - 64]}… {sha256(text.encode()).hexdigest()}"


def is_renewal(issued: Issued | None, directory: str, names_key: str, now: datetime) -> bool:
    """Whether this CA knows exactly these names of a certificate that it has issued lately."""
    return (
        issued is not None
        and (issued.directory, issued.names_key) == (directory, names_key)
        and issued.not_before > now - REMEMBERED
    )


def share(state: CertState, now: datetime) -> float:
    """How much of each bucket this certificate may use."""
    if expires_soon(state, now):
        return URGENT
    return SLOW if state.failures >= OFTEN else WAITS


def most(rate: Rate, share: float) -> int:
    """Tokens of a bucket that may be out at once."""
    return max(1, int(rate.count * share))


class Ledger:
    """Buckets, as they will be once what is under way has been spent: levels as of `now`, and charges on top."""

    def __init__(self, levels: Mapping[BucketKey, Level], rates: Mapping[BucketKey, Rate], now: datetime) -> None:
        self._full_at = {
            key: max(level.full_at, now) + rates[key].every * level.held
            for key, level in levels.items()
            if key in rates and (level.held or level.full_at > now)
        }

    def ready(self, cost: Cost, share: float, now: datetime) -> datetime:
        """When this token is to be had, `now` or later."""
        full_at = max(self._full_at.get(cost.key, now), now)
        return max(now, full_at + cost.rate.every * (1 - most(cost.rate, share)))

    def charge(self, costs: Iterable[Cost], at: datetime) -> None:
        """These tokens are taken at `at`."""
        for cost in costs:
            self._full_at[cost.key] = max(self._full_at.get(cost.key, at), at) + cost.rate.every

    def left(self, key: BucketKey, rate: Rate, now: datetime) -> int:
        """Whole tokens in the bucket."""
        return max(0, (now + rate.every * rate.count - self.full_at(key, now)) // rate.every)

    def full_at(self, key: BucketKey, now: datetime) -> datetime:
        """When the bucket is full again."""
        return max(self._full_at.get(key, now), now)


def rounded(at: datetime, now: datetime) -> datetime:
    """An instant to look again: those that are not soon are looked at together, some minutes' tokens at once."""
    if at - now <= TOGETHER:
        return at
    return now + TOGETHER * -((now - at) // TOGETHER)


def as_before(found: Wait, before: Wait) -> bool:
    """Whether a wait for room is the one that is known, as near as it matters: each is looked at when it is over."""
    return found.reason == before.reason and abs(found.until - before.until) <= TOGETHER


def look_again(at: datetime, ends: datetime, now: datetime) -> datetime:
    """When a certificate that ends then, and has its turn at `at`, is looked at again.

    Not later than it begins to expire soon: from then on it may use more of each bucket.
    """
    urgent_at = ends - SOON
    return min(at, urgent_at) if urgent_at > now else at


def taught(costs: Iterable[Cost], words: str, *, names_only: bool) -> tuple[Cost, ...]:
    """Which of these buckets the CA means that has refused an order in these words.

    `names_only`: it says that it is because of the names. If we misread the CA's words, the worst is that other orders
    are tried too soon.
    """
    text = words.lower()
    if not names_only:
        return tuple(cost for cost in costs if cost.key.limit is Limit.ORDERS)
    meant = Limit.SET if "exact set" in text else Limit.DOMAIN
    return tuple(cost for cost in costs if cost.key.limit is meant and (meant is Limit.SET or cost.key.subject in text))


def said(key: BucketKey) -> str:
    """What is waited for, for a person."""
    about = f" ({key.subject})" if key.subject else ""
    return f"the CA's limit of {key.limit.words}{about} leaves no room"
