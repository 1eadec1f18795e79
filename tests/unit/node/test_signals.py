"""A hang-up wakes whoever waits, once, and cuts nothing else short."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from knit.node.loop import Loop
from knit.node.service import Manager
from knit.node.signals import Signals, Woken
from knit.node.tidings import Tidings


def hung_up(signals: Signals) -> None:
    signals._hung_up(signal.SIGHUP, None)


def test_a_hang_up_after_a_wait_cuts_nothing_short_and_is_not_forgotten() -> None:
    signals = Signals()
    with signals.waiting():
        pass
    hung_up(signals)
    assert (signals.asked(), signals.asked()) == (True, False)


def test_a_wait_that_somebody_has_asked_to_end_is_not_begun() -> None:
    signals = Signals()
    hung_up(signals)
    with pytest.raises(Woken), signals.waiting():
        pytest.fail("nobody waits")
    assert signals.asked()


def test_a_second_hang_up_does_not_cut_short_what_the_first_has_begun_to_put_away() -> None:
    signals, put_away = Signals(), []
    with pytest.raises(Woken), signals.waiting():
        try:
            hung_up(signals)
        finally:
            hung_up(signals)
            put_away.append("all")
    assert put_away == ["all"]


def test_a_subscription_that_was_woken_in_mid_reply_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    signals, closed = Signals(), []
    hints: Any = SimpleNamespace(close=lambda: closed.append(True), wait=lambda _: hung_up(signals))
    nothing: Any = None
    hurried: Any = SimpleNamespace(hurry=lambda: None)
    loop = Loop(
        watch=hurried,
        disk=nothing,
        deploy=hurried,
        hints=hints,
        interval=60,
        signals=signals,
        reread=lambda: None,
        manager=Manager(None, None),
        tidings=Tidings(nothing),
    )
    passes: list[bool] = []

    def one(*, sweep: bool) -> bool:
        passes.append(sweep)
        if len(passes) == 2:
            raise SystemExit(0)
        return True

    monkeypatch.setattr(loop, "_pass", one)
    with pytest.raises(SystemExit):
        loop.forever()
    assert (passes, closed) == ([True, True], [True])


def test_whoever_was_told_to_stop_is_told_no_more_while_it_puts_things_away(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    monkeypatch.setattr("knit.node.signals.start.hold", lambda: held.append(True))
    signals = Signals()
    with pytest.raises(SystemExit) as ended, signals.shield():
        signals._received(signal.SIGTERM, None)
        assert (signals.stopping(), held) == (True, [])
    assert (ended.value.code, held) == (0, [True])
