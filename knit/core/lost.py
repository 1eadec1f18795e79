"""Published values that are lost: what counts as one, and how many are ordered anew at once."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from knit.core.model.certificate import CertId, Issued
from knit.core.model.decision import Candidate
from knit.core.value import Value

MASS_COUNT = 20
MASS_SHARE = 0.1


class Finding(StrEnum):
    """What a live value is, beside what is recorded. The texts are for the log."""

    RECORDED = "as recorded"
    NEWER = "newer than recorded: taken as it is"
    OLDER = "an older value came back"
    COMPROMISED = "its key was declared compromised"
    DAMAGED = "it is no certificate of these names that could be served"

    @property
    def lost(self) -> bool:
        """Whether the certificate must be issued anew."""
        return self in {Finding.OLDER, Finding.COMPROMISED, Finding.DAMAGED}


def judge(value: Value, spki_sha256: str, recorded: Issued, compromised: AbstractSet[str], now: datetime) -> Finding:
    """What a sound value is that is live at the key where `recorded` was published.

    One without a generation is another publisher's (the Go knit): there only the dates tell which is newer.
    """
    if value.sha256 == recorded.sha256:
        facts = (value.cert_path, value.key_path, value.not_after)
        same = facts == (recorded.cert_path, recorded.key_path, recorded.not_after)
        return Finding.RECORDED if same else Finding.NEWER
    if spki_sha256 in compromised:
        return Finding.COMPROMISED
    generation = value.generation_by(now)
    if generation is None:
        return Finding.NEWER if value.not_after > recorded.not_after else Finding.OLDER
    return Finding.NEWER if generation > recorded.generation else Finding.OLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A certificate whose value is lost, and when what was lost expires."""

    cert_id: CertId
    names_key: str
    not_after: datetime

    @classmethod
    def of(cls, candidate: Candidate) -> Lost:
        """Of a candidate whose value is lost: so there is a record of it."""
        issued, spec = candidate.state.issued, candidate.spec
        assert issued is not None
        return cls(cert_id=spec.id, names_key=spec.names_key, not_after=issued.not_after)


def room(*, published: int, begun: int) -> int:
    """How many may be ordered anew now in place of what is lost.

    `published` is how many the installation publishes, `begun` how many lost ones were begun with in the last hour.
    """
    return max(max(MASS_COUNT, int(published * MASS_SHARE)) - begun, 0)


def admitted(lost: Iterable[Lost], *, published: int, begun: int) -> frozenset[CertId]:
    """Those that there is room for, the soonest to expire first."""
    by_urgency = sorted(lost, key=lambda one: (one.not_after, one.cert_id))
    return frozenset(one.cert_id for one in by_urgency[: room(published=published, begun=begun)])
