"""What one certificate has to itself is waited for as long as whoever waits says, and no longer."""

from __future__ import annotations

import threading
import time

import pytest

from knit.app.locks import KeyedLocks
from knit.errors import Busy
from tests.clock import Clock


def test_a_place_that_is_held_is_nobody_else_s_and_other_places_are() -> None:
    locks = KeyedLocks()
    with locks("a"):
        for patience in (0.0, 0.1):
            began = time.monotonic()
            with pytest.raises(Busy, match="'a'"), locks("a", patience=patience):
                pass
            assert patience <= time.monotonic() - began < patience + 1
        with locks("b", patience=0.0):
            pass
    with locks("a", patience=0.0):
        pass


def test_a_place_that_rests_goes_on_resting_whoever_asks_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("knit.app.locks.time", clock)
    locks = KeyedLocks()
    with locks("a", rest=0.5):
        given_back = clock.monotonic()
    for _ in range(3):
        with pytest.raises(Busy), locks("a", patience=0.0):
            pass
    with locks("a", patience=1.0):
        assert clock.monotonic() - given_back == 0.5
    with locks("a", patience=0.0):
        pass


def test_a_lock_is_there_only_while_somebody_wants_it() -> None:
    locks, all_want_it = KeyedLocks(), threading.Barrier(3)

    def work() -> None:
        all_want_it.wait()
        with locks("a"):
            assert locks._locks
            time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert locks._locks == {}
