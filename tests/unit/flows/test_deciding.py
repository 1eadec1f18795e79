"""What a pass decides about certificates for which a CA's limits leave no room."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from knit.core import budget
from knit.core.brake import Pace
from knit.core.budget import SOON, Key, Level
from knit.core.limits import Limit, Rate
from knit.core.model.certificate import CertId
from knit.core.model.decision import Candidate, CertState, Rules, Wait
from knit.core.model.issuer import Terms
from knit.core.model.verdict import Act
from knit.flows.deciding import Deciding
from knit.flows.room import Room
from tests.unit.core.test_lost import DIRECTORY, NOW, issued, spec

CA = Terms(name="acme", directory=DIRECTORY, limits="letsencrypt")


@dataclass(frozen=True)
class Full:
    """All buckets of this CA's domains are empty for weeks."""

    def levels(self, keys: Collection[Key]) -> Mapping[Key, Level]:
        empty = NOW + timedelta(days=30)
        return {key: Level(empty) for key in keys if key.limit is Limit.DOMAIN}

    def every(self) -> Mapping[Key, Level]:
        return {}

    def exhausted(self, key: Key, rate: Rate, until: datetime) -> None: ...

    def wait(self, waits: Mapping[CertId, Wait], rules: Rules) -> None: ...

    def waiting(self) -> Sequence[CertId]:
        return ()

    def pace(self, reasons: Iterable[str], at: datetime) -> Pace:
        return Pace(enabled=1, begun=0)

    def candidates_of(self, ids: Sequence[CertId]) -> Iterable[Candidate]:
        return ()


def test_what_has_no_room_is_looked_at_again_when_it_begins_to_expire_soon() -> None:
    """From then on it may use more of each bucket: its turn among those that can wait may come after its end."""
    renamed = replace(spec(), names=("b.example",))
    state = CertState(issued=issued(days=10))
    room = Room(store=Full(), clock=lambda: NOW)
    deciding = Deciding(store=Full(), room=room, rules=Rules(issuers=(CA,)))
    (verdict,) = deciding.verdicts([Candidate(spec=renamed, state=state)], NOW)
    assert verdict.act is Act.OVER_BUDGET
    assert verdict.until == NOW + timedelta(days=10) - SOON


@pytest.mark.parametrize(
    ("turn", "ends", "again"),
    [(5, 30, 5), (5, 6, 3), (5, 3, 5), (5, 1, 5), (5, -1, 5)],
    ids=["its turn is sooner", "it expires soon before that", "it expires soon already", "sooner", "it has expired"],
)
def test_a_turn_that_comes_after_the_last_days_begin_is_not_waited_for(turn: int, ends: int, again: int) -> None:
    at = budget.look_again(NOW + timedelta(days=turn), NOW + timedelta(days=ends), NOW)
    assert at == NOW + timedelta(days=again)
