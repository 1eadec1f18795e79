"""What a CA publishes of its limits, as data: token buckets, and which orders they do not count.

Let's Encrypt's are those of its page "Rate Limits" of 5 August 2026, https://letsencrypt.org/docs/rate-limits/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from knit.core import words
from knit.core.near import near


class Limit(StrEnum):
    """What is counted. The value is the key in a table of one's own, and the word in PostgreSQL."""

    ORDERS = "orders_per_account"
    DOMAIN = "certificates_per_domain"
    SET = "certificates_per_set"
    FAILURES = "failures_per_name"

    @property
    def words(self) -> str:
        """For a sentence: "the limit of ..."."""
        return (
            self.value.replace("_", " ")
            .replace("per set", "for one set of names")
            .replace("domain", "registered domain")
        )


SPENT_BY_ORDERS: Final = frozenset({Limit.ORDERS})
"""Spent when the CA gives an order. DOMAIN and SET are spent when it issues a certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A bucket that holds `count` tokens, of which one comes back every `every`."""

    count: int
    every: timedelta

    @classmethod
    def of(cls, count: int, per: timedelta) -> Rate:
        """`count` in each `per`, and all of them at once when none was used for so long."""
        return cls(count=count, every=-(-per // count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The limits of one CA. A limit that is not among `rates` does not count.

    `spared_renewals` are the limits that do not count an order for exactly the names of a certificate that this CA
    issued lately; `spares_replaced`: none counts an order that replaces a certificate (RFC 9773 section 5).
    """

    name: str
    rates: Mapping[Limit, Rate]
    spared_renewals: frozenset[Limit] = frozenset()
    spares_replaced: bool = False


def _model(
    name: str, rates: Mapping[Limit, Rate], *, spared: Iterable[Limit] = (), spares_replaced: bool = False
) -> Model:
    held = MappingProxyType(dict(rates))
    return Model(name=name, rates=held, spared_renewals=frozenset(spared), spares_replaced=spares_replaced)


HOUR, WEEK = timedelta(hours=1), timedelta(days=7)

NONE: Final = _model("none", {})
LETS_ENCRYPT: Final = _model(
    "letsencrypt",
    {
        Limit.ORDERS: Rate.of(300, 3 * HOUR),
        Limit.DOMAIN: Rate.of(50, WEEK),
        Limit.SET: Rate.of(5, WEEK),
        Limit.FAILURES: Rate.of(5, HOUR),
    },
    spared=(Limit.ORDERS, Limit.DOMAIN),
    spares_replaced=True,
)
# Its limits for a domain and for a set are in the ten thousands: no list of this program meets them.
STAGING: Final = _model(
    "letsencrypt-staging",
    {Limit.ORDERS: Rate.of(1500, 3 * HOUR), Limit.FAILURES: Rate.of(200, HOUR)},
    spared=(Limit.ORDERS,),
    spares_replaced=True,
)
MODELS: Final[Mapping[str, Model]] = MappingProxyType({one.name: one for one in (LETS_ENCRYPT, STAGING, NONE)})
HOSTS: Final[Mapping[str, Model]] = MappingProxyType(
    {"acme-v02.api.letsencrypt.org": LETS_ENCRYPT, "acme-staging-v02.api.letsencrypt.org": STAGING}
)

LIKE, RENEWALS, REPLACED = "like", "renewals_not_counted_by", "replaced_not_counted"


def of_directory(directory: str) -> Model:
    """The model of a CA that is known by its host; none where it is not."""
    return HOSTS.get(urlsplit(directory).hostname or "", NONE)


def of(limits: str | Mapping[str, object] | None, directory: str) -> Model:
    """What an issuer's `limits` says; what its directory is known for where it says nothing. Raises ValueError."""
    if limits is None:
        return of_directory(directory)
    return named(limits) if isinstance(limits, str) else from_table(limits)


def named(name: str) -> Model:
    """Raises ValueError with what is allowed."""
    if name not in MODELS:
        message = f"one of {', '.join(MODELS)}, or a table{_meant(name, MODELS)}"
        raise ValueError(message)
    return MODELS[name]


def from_table(table: Mapping[str, object]) -> Model:
    """A table of one's own, as TOML gives it.

    `like` names a model to start from; each limit is `{ count = 300, per = "3h" }`, or `false` for none.
    `renewals_not_counted_by` lists the limits that do not count orders for the names of a certificate in hand;
    `replaced_not_counted` says that no limit counts an order that replaces a certificate. Raises ValueError with what
    is allowed, the key first.
    """
    known = (LIKE, RENEWALS, REPLACED, *Limit)
    if strange := next((key for key in table if key not in known), None):
        message = f"a table of {', '.join(known)}, and of no {strange}{_meant(strange, known)}"
        raise ValueError(message)
    base = named(_text(LIKE, table[LIKE])) if LIKE in table else NONE
    rates = dict(base.rates)
    for limit in (Limit(key) for key in table if key in set(Limit)):
        rate = _rate(limit, table[limit])
        rates.pop(limit, None)
        if rate is not None:
            rates[limit] = rate
    made = replace(base, name=f"like {base.name}" if LIKE in table else "own", rates=MappingProxyType(rates))
    if RENEWALS in table:
        made = replace(made, spared_renewals=_limits(table[RENEWALS]))
    if REPLACED in table:
        made = replace(made, spares_replaced=_flag(REPLACED, table[REPLACED]))
    return made


def _rate(limit: Limit, value: object) -> Rate | None:
    if value is False:
        return None
    said = f'{limit}: {{ count = 300, per = "3h" }}, or false'
    if not isinstance(value, Mapping) or set(value) != {"count", "per"}:
        raise ValueError(said)
    count, per = value["count"], value["per"]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 1_000_000:
        message = f"{said}; count from 1 to 1000000"
        raise ValueError(message)
    length = words.duration(_text(f"{limit}.per", per))
    if not timedelta(seconds=1) <= length <= timedelta(days=366):
        message = f"{said}; per from one second to a year"
        raise ValueError(message)
    return Rate.of(count, length)


def _limits(value: object) -> frozenset[Limit]:
    if not isinstance(value, list) or not all(one in set(Limit) for one in value):
        message = f"{RENEWALS}: a list of {', '.join(Limit)}"
        raise ValueError(message)
    return frozenset(map(Limit, value))


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        message = f"{key}: text"
        raise ValueError(message)  # noqa: TRY004 -- every fault of a setting is told the same way
    return value


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        message = f"{key}: true or false"
        raise ValueError(message)  # noqa: TRY004
    return value


def _meant(word: str, known: Iterable[str]) -> str:
    found = near(word, known)
    return f" ({word}: did you mean {' or '.join(found)}?)" if found else ""
