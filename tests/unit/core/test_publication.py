"""What may be pruned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.publication import guard, plan_prune
from knit.errors import UnsafePublish

KEYS = st.sets(st.integers(0, 60).map(str))


def test_a_removed_key_is_explained_and_a_foreign_one_is_not() -> None:
    plan = plan_prune(index={"kept", "removed", "foreign"}, wanted={"kept"}, tombstones={"removed"})
    assert plan.explained == frozenset({"removed"})
    assert plan.unexplained == frozenset({"foreign"})


def test_a_key_that_was_removed_and_added_again_is_kept() -> None:
    plan = plan_prune(index={"a"}, wanted={"a"}, tombstones={"a"})
    assert not plan.explained | plan.unexplained


@pytest.mark.parametrize(("live", "foreign"), [(100, 20), (20, 10), (11, 10), (1000, 200)])
def test_the_guard_lets_ten_or_a_fifth_go(live: int, foreign: int) -> None:
    index = {str(n) for n in range(live)}
    guard(plan_prune(index=index, wanted={str(n) for n in range(foreign, live)}, tombstones=set()), live=live)


@pytest.mark.parametrize(("live", "foreign"), [(100, 21), (20, 11), (1, 1), (10, 10), (1000, 1000), (1000, 201)])
def test_the_guard_stops_more_than_that_and_never_gives_all(live: int, foreign: int) -> None:
    index = {str(n) for n in range(live)}
    plan = plan_prune(index=index, wanted={str(n) for n in range(foreign, live)}, tombstones=set())
    with pytest.raises(UnsafePublish, match=f"{foreign} of {live} published keys"):
        guard(plan, live=live)


def test_explicit_removals_may_take_all() -> None:
    index = {str(n) for n in range(500)}
    guard(plan_prune(index=index, wanted=set(), tombstones=index), live=500)


@given(index=KEYS, wanted=KEYS, tombstones=KEYS)
def test_nothing_wanted_is_ever_pruned_and_nothing_that_is_not_there(
    index: set[str],
    wanted: set[str],
    tombstones: set[str],
) -> None:
    plan = plan_prune(index=index, wanted=wanted, tombstones=tombstones)
    assert not (plan.explained | plan.unexplained) & wanted
    assert plan.explained | plan.unexplained <= index
    assert not plan.explained & plan.unexplained
