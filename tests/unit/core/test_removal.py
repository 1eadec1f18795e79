"""Files go only when everything says so."""

from __future__ import annotations

from itertools import product

import pytest

from knit.core.model.places import OnRemove, Place, Probe
from knit.core.removal import is_removed, why_kept

PROBE = Probe(connect="127.0.0.1:443")
GOING = Place(name="web", on_remove=OnRemove.DELETE, probe=PROBE)


@pytest.mark.parametrize(("index_empty", "went_back", "has_value"), list(product([False, True], repeat=3)))
def test_only_a_key_and_value_gone_from_a_living_index_were_removed(
    index_empty: bool, went_back: bool, has_value: bool
) -> None:
    removed = is_removed(index_empty=index_empty, went_back=went_back, has_value=has_value)
    assert removed is ((index_empty, went_back, has_value) == (False, False, False))


def test_files_go_when_they_may_and_nothing_serves_them() -> None:
    assert why_kept(GOING, removed=True, served=False) is None


@pytest.mark.parametrize(
    ("place", "removed", "served", "why"),
    [
        (None, True, False, "keep"),
        (Place(name="web", probe=PROBE), True, False, "keep"),
        (GOING, False, False, "on purpose"),
        (Place(name="web", on_remove=OnRemove.DELETE), True, False, "without a probe"),
        (Place(name="web", on_remove=OnRemove.DELETE), True, None, "without a probe"),
        (GOING, True, None, "no answer"),
        (GOING, True, True, "still served"),
    ],
)
def test_otherwise_they_stay_and_the_reason_is_told(
    place: Place | None, removed: bool, served: bool | None, why: str
) -> None:
    assert why in (why_kept(place, removed=removed, served=served) or "")
