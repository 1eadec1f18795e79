"""What may be pruned."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.digest import pair_digest
from knit.core.publication import Unexplained, above, generation_of, guard, is_foreign, is_good_of_ours, ripe
from knit.errors import UnsafePublish

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OURS = "0123456789abcdef"
KEYS = st.sets(st.integers(0, 60).map(str))


def keys(count: int) -> set[str]:
    return {str(number) for number in range(count)}


def raw(*, installation: str | None = OURS, days: int = 30, mark: bool = True, sha256: str | None = None) -> bytes:
    value: dict[str, object] = {
        "fullchain": "chain",
        "privkey": "key",
        "not_after": (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sha256": sha256 or pair_digest(b"chain", b"key"),
        "cert_path": "/a.crt",
        "key_path": "/a.key",
    }
    if mark:
        owner = {} if installation is None else {"installation": installation}
        value["knit"] = {"v": 1, "id": 1, "generation": 1, "issued_at": "2026-04-01T00:00:00Z", **owner}
    return json.dumps(value).encode()


@pytest.mark.parametrize(("live", "count"), [(100, 20), (20, 10), (11, 10), (1000, 200), (1, 0)])
def test_the_guard_lets_ten_or_a_fifth_go(live: int, count: int) -> None:
    guard(keys(count), live=live)


@pytest.mark.parametrize(("live", "count"), [(100, 21), (20, 11), (1, 1), (10, 10), (1000, 1000), (1000, 201)])
def test_the_guard_stops_more_than_that_and_never_gives_all(live: int, count: int) -> None:
    with pytest.raises(UnsafePublish, match=f"{count} of {live} published keys"):
        guard(keys(count), live=live)


@pytest.mark.parametrize(("live", "count"), [(100, 99), (20, 19), (2, 1)])
def test_a_person_may_confirm_any_number(live: int, count: int) -> None:
    guard(keys(count), live=live, confirmed=True)


@pytest.mark.parametrize("live", [1, 5, 1000])
def test_not_even_a_person_has_all_pruned(live: int) -> None:
    with pytest.raises(UnsafePublish, match="never takes all"):
        guard(keys(live), live=live, confirmed=True)


def test_a_valid_value_is_kept_for_seven_days_and_one_that_is_not_is_not() -> None:
    seen = NOW - timedelta(days=7)
    unexplained = {
        "old": Unexplained(since=seen, valid=True),
        "young": Unexplained(since=seen + timedelta(seconds=1), valid=True),
        "expired": Unexplained(since=NOW, valid=False),
    }
    assert ripe(unexplained, NOW) == {"old", "expired"}
    assert ripe(unexplained, NOW, confirmed=True) == unexplained.keys()


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        (raw(), True),
        (raw(installation=None), None),
        (raw(mark=False), None),
        (raw(days=-1), False),
        (raw(sha256="0" * 64), False),
        (b"", None),
        (b"not json", None),
        (b'{"fullchain": 1}', None),
        (raw(installation="another"), None),
        (raw(installation="another", days=-1), None),
        (raw(installation="another", sha256="0" * 64), None),
    ],
    ids=[
        *("ours", "earlier knit", "Go knit", "expired", "damaged", "nothing", "no value", "no text"),
        *("other", "old", "broken"),
    ],
)
def test_a_value_is_ours_when_it_says_so(value: bytes, ours: bool | None) -> None:
    assert is_good_of_ours(value, OURS, NOW) is ours


@pytest.mark.parametrize(
    ("value", "foreign"),
    [
        (raw(), False),
        (raw(installation=None), False),
        (raw(mark=False), False),
        (b"", False),
        (b"not json", True),
        (raw(installation="another"), True),
    ],
)
def test_under_a_key_of_ours_lies_what_some_knit_wrote_for_us(value: bytes, foreign: bool) -> None:
    assert is_foreign(value, OURS) is foreign


@given(index=KEYS, some=KEYS)
def test_what_the_guard_lets_through_leaves_something(index: set[str], some: set[str]) -> None:
    gone = index & some
    try:
        guard(gone, live=len(index))
    except UnsafePublish:
        return
    assert not gone or index - gone


def test_a_generation_is_above_the_last_one_and_never_below_the_clock() -> None:
    now = int(NOW.timestamp())
    assert [above(last, NOW) for last in (0, now - 1, now, now + 5)] == [now, now, now + 1, now + 6]
    assert [generation_of(token) for token in ("", "7", "#7")] == [0, 7, 0]
