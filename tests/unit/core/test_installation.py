"""Which Valkey a database may call its own."""

from __future__ import annotations

from itertools import product

import pytest

from knit.core.installation import Installation, Unmarked, may_claim
from knit.errors import ForeignValkey

HERE, ELSEWHERE = "valkey:6379/0", "valkey:6379/1"
KEYS = frozenset(str(number) for number in range(11))


def claims(ours: str | None, *, index: frozenset[str], explained: frozenset[str], publishes: bool) -> bool:
    valkey = Unmarked(place=HERE, index=index, explained=explained)
    try:
        may_claim(Installation(id="x", place=ours), valkey, publishes=publishes)
    except ForeignValkey as error:
        assert "knit adopt-valkey" in str(error)
        return False
    return True


@pytest.mark.parametrize(("index", "publishes"), [*product([frozenset[str](), KEYS], [False, True])])
def test_a_valkey_that_lost_its_id_is_known_by_its_place_and_any_other_is_not(
    index: frozenset[str], publishes: bool
) -> None:
    assert claims(HERE, index=index, explained=frozenset(), publishes=publishes)
    assert not claims(ELSEWHERE, index=index, explained=index, publishes=publishes)


@pytest.mark.parametrize(("explained", "claimed"), [(0, False), (1, False), (5, False), (6, True), (11, True)])
def test_a_database_that_never_published_with_an_id_takes_the_valkey_that_it_explains(
    explained: int, claimed: bool
) -> None:
    some = frozenset(sorted(KEYS)[:explained])
    assert claims(None, index=KEYS, explained=some, publishes=False) is claimed


def test_an_empty_valkey_is_for_a_database_that_has_published_nothing() -> None:
    assert claims(None, index=frozenset(), explained=frozenset(), publishes=False)
    assert not claims(None, index=frozenset(), explained=KEYS, publishes=True)
