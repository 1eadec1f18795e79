"""Which rows of the list can be certificates beside the others, in time that grows with their number alone.

A row claims its set of names, its Valkey key and both its files: whoever claims one first has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from knit.core.names import key_of
from knit.core.placement import spelled
from knit.core.wanted import Wanted

NAMES, KEY, FILE = "names", "valkey_key", "path"

Claim = tuple[str, str]
"""What one certificate has and no other may have: the kind, and which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row that is good by itself."""

    id: int
    domains: str
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A certificate that has something already."""

    id: int
    domains: str
    claims: tuple[Claim, ...]

    @property
    def shown(self) -> str:
        """The claim in words, for a person."""
        domains = self.domains if len(self.domains) <= 200 else f"{self.domains[:200]}..."
        return f"certificate {self.id} ({domains})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The rows that can be certificates, and why the others cannot, by id."""

    good: Mapping[int, Wanted]
    clashing: Mapping[int, str]


def judge(entries: Sequence[Entry], holders: Iterable[Claimant]) -> Judged:
    """Of entries that claim one thing the first has it. What `holders` tells of these very entries is outdated.

    One may claim the key that another of them is still published under: they have changed places, and who publishes
    sees to it that neither value is lost.
    """
    ours = {entry.id for entry in entries}
    owners = {claim: holder for holder in holders if holder.id not in ours for claim in holder.claims}
    good: dict[int, Wanted] = {}
    clashing: dict[int, str] = {}
    for entry in entries:
        holder = Claimant(id=entry.id, domains=entry.domains, claims=claims(entry.wanted))
        if why := clash(holder.claims, owners):
            clashing[entry.id] = why
            continue
        good[entry.id] = entry.wanted
        owners.update(dict.fromkeys(holder.claims, holder))
    return Judged(good=good, clashing=clashing)


def claims(wanted: Wanted) -> tuple[Claim, ...]:
    """The names, key and files that this entry would have for itself."""
    return (
        (NAMES, key_of(wanted.names)),
        (KEY, wanted.valkey_key),
        (FILE, spelled(wanted.cert_path)),
        (FILE, spelled(wanted.key_path)),
    )


def clash(claimed: Iterable[Claim], owners: Mapping[Claim, Claimant]) -> str | None:
    """Why these cannot be had: a sentence that names the other certificate."""
    taken = next((claim for claim in claimed if claim in owners), None)
    if taken is None:
        return None
    kind, what = taken
    other = owners[taken].shown
    return f"{other} has the same names" if kind == NAMES else f"{kind} {what} belongs to {other}"
