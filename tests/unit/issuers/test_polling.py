"""How the CA is waited for, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from knit.errors import Unreachable
from knit.issuers.acme.polling import ISSUANCE, VALIDATION, Poller, PollPace
from knit.issuers.acme.transport import Reply

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass
class Time:
    """Both clocks."""

    passed: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.passed += seconds

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


def poll(time: Time, replies: list[Reply], pace: PollPace) -> int:
    poller = Poller(time.clock, time.sleep, time.monotonic)
    left = list(replies)

    def look() -> tuple[int, Reply]:
        reply = left.pop(0)
        return len(left), reply

    return poller.begin(pace, "the order").until(look, lambda found: found == 0)


def test_waits_begin_short_and_grow_up_to_the_longest() -> None:
    time = Time()
    poll(time, [Reply(200, {}, b"")] * 12, VALIDATION)
    assert time.sleeps[0] == pytest.approx(0.005)
    assert time.sleeps == sorted(time.sleeps)
    assert time.sleeps[-1] == VALIDATION.longest


def test_a_fresh_order_is_left_alone_for_twenty_milliseconds() -> None:
    time = Time()
    poll(time, [Reply(200, {}, b"")], ISSUANCE)
    assert time.sleeps[0] >= 0.02


def test_the_ca_is_left_alone_for_as_long_as_it_asks() -> None:
    time = Time()
    poll(time, [Reply(200, {"retry-after": "30"}, b""), Reply(200, {}, b"")], VALIDATION)
    assert time.sleeps[1] == pytest.approx(30)


def test_a_wait_past_the_end_is_not_begun_and_says_when_to_look_again() -> None:
    time = Time()
    with pytest.raises(Unreachable) as left:
        poll(time, [Reply(200, {"retry-after": "7200"}, b""), Reply(200, {}, b"")], PollPace(first=0.02))
    assert time.passed < 1
    assert left.value.retry_at is not None
    assert left.value.retry_at - time.clock() == timedelta(hours=2)


def test_an_order_that_the_ca_says_takes_a_day_is_looked_at_once_more_soon() -> None:
    time = Time()
    poll(time, [Reply(200, {"retry-after": "86400"}, b""), Reply(200, {}, b"")], ISSUANCE)
    assert time.passed == pytest.approx(10, abs=0.1)
    with pytest.raises(Unreachable) as left:
        poll(time, [Reply(200, {"retry-after": "86400"}, b"")] * 3, ISSUANCE)
    assert time.passed == pytest.approx(20, abs=0.1)
    assert left.value.retry_at == time.clock() + timedelta(days=1)


@pytest.mark.parametrize("asked", ["121", "600", "86400"])
def test_a_validation_that_the_ca_says_takes_longer_is_looked_at_once_more_before_its_values_go(asked: str) -> None:
    time = Time()
    poll(time, [Reply(200, {"retry-after": asked}, b""), Reply(200, {}, b"")], VALIDATION)
    assert time.passed == pytest.approx(VALIDATION.total)


def test_after_that_look_it_is_left_with_the_instant_the_ca_has_named() -> None:
    time = Time()
    with pytest.raises(Unreachable) as left:
        poll(time, [Reply(200, {"retry-after": "7200"}, b"")] * 3, VALIDATION)
    assert time.passed == pytest.approx(VALIDATION.total)
    assert left.value.retry_at == time.clock() + timedelta(hours=2)
