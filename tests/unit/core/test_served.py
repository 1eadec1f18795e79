"""What a fleet serves, held against what is true of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knit.core.model.certificate import CertId
from knit.core.model.deployed import Failure, Step
from knit.core.served import FINE, Behind, Current, Spread, Standing, may_be_served, standing
from rig.fleet import FINE as IS_FINE
from rig.fleet import Fleet, key_of
from tests.unit.core.test_report import deployed

AT = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)


def current(generation: int | None = 7, **given: Any) -> Current:
    facts: dict[str, Any] = {"names": "one.example.org", "key": "certs:one", "issued_at": AT, "published_at": AT}
    return Current(**{**facts, "cert_id": CertId(1), "generation": generation, "serial": "0a", **given})


def failure(generation: int | None = 7, **given: Any) -> Failure:
    facts: dict[str, Any] = {"step": Step.CHECK, "error": "no", "output": "", "at": AT + timedelta(seconds=1)}
    return Failure(**{**facts, "next_try": None, "rolled_back": False, "generation": generation, **given})


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_of_a_fleet_that_dies_lags_rolls_back_and_comes_back_the_answer_is_exact(seed: int) -> None:
    fleet = Fleet(20, 30, Random(seed))
    fleet.turns(200)
    for node in fleet.nodes:
        for one in fleet.certificates:
            wanted = replace(current(fleet.generation[one]), key=key_of(one))
            found = standing(fleet.says(node, one), wanted, silent=node in fleet.silent)
            assert (IS_FINE if found in FINE else found.value) == fleet.true(node, one), (node, one)


@pytest.mark.parametrize(
    ("here", "means"),
    [
        ({}, Standing.SERVED),
        ({"generation": 8}, Standing.SERVED),
        ({"probed": False, "served_at": None}, Standing.RELOADED),
        ({"served_at": None}, Standing.LAGGING),
        ({"probed": False, "reloaded_at": None, "served_at": None}, Standing.LAGGING),
        ({"generation": 6}, Standing.LAGGING),
        ({"orphaned": True}, Standing.LAGGING),
        ({"generation": 6, "failure": failure(rolled_back=True)}, Standing.ROLLED_BACK),
        ({"generation": 6, "failure": failure()}, Standing.FAILED),
        ({"generation": 6, "failure": failure(6)}, Standing.LAGGING),
        ({"generation": 6, "failure": failure(None)}, Standing.FAILED),
        ({"failure": failure()}, Standing.FAILED),
        ({"failure": failure(at=AT - timedelta(days=1))}, Standing.SERVED),
        ({"generation": None}, Standing.SERVED),
        ({"generation": None, "serial": "0b"}, Standing.LAGGING),
        ({"generation": None, "serial": None}, Standing.LAGGING),
    ],
)
def test_what_a_node_does_with_a_certificate(here: dict[str, Any], means: Standing) -> None:
    assert standing(deployed(**here), current(), silent=False) is means


def test_a_silent_node_is_silent_whatever_it_said() -> None:
    assert standing(deployed(), current(), silent=True) is Standing.SILENT


@pytest.mark.parametrize(
    ("spread", "lack"),
    [
        (Spread(current=current(), nodes=2, fine=2), None),
        (Spread(current=current(), nodes=2, fine=1), "1 of 2 nodes that take it do not serve it"),
        (Spread(current=current(), nodes=0, fine=0), "no node reports it"),
        (Spread(current=current(published_at=None), nodes=2, fine=2), "it is not published"),
    ],
)
def test_what_a_certificate_lacks(spread: Spread, lack: str | None) -> None:
    assert spread.lack == lack
    assert spread.served is (lack is None)


@pytest.mark.parametrize(
    ("how", "why", "may"),
    [
        (Standing.LAGGING, None, True),
        (Standing.SILENT, None, False),
        (Standing.FAILED, failure(), False),
        (Standing.FAILED, failure(next_try=AT + timedelta(seconds=59)), True),
        (Standing.ROLLED_BACK, failure(next_try=AT + timedelta(minutes=1)), False),
    ],
)
def test_what_is_worth_waiting_for(how: Standing, why: Failure | None, *, may: bool) -> None:
    behind = Behind(node="web1", standing=how, here=deployed(failure=why))
    lags = Behind(node="web2", standing=Standing.LAGGING, here=deployed())
    spreads = [Spread(current=current(), nodes=3, fine=1, behind=(behind, lags))]
    assert may_be_served(spreads, AT + timedelta(minutes=1)) is may


def test_what_no_node_has_yet_is_worth_waiting_for() -> None:
    assert may_be_served([Spread(current=current(), nodes=0, fine=0)], AT)
