"""A server that is away is one line when it goes and one when it is back, whoever meets it and however often."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from knit.errors import Unreachable
from knit.outages import Outages

AWAY = Unreachable("PostgreSQL: no answer")
FULL = Unreachable("PostgreSQL: too many clients")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def gone(outages: Outages, who: str, error: Exception = AWAY) -> None:
    outages.gone(who, error, kept="the list", again=timedelta(seconds=5))


def test_many_tries_of_many_are_one_line_and_one_when_the_last_is_back(said: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    for who in ("reconcile", "renew", "reconcile", "renew", "reconcile"):
        gone(outages, who)
    assert said.messages == ["server away"]
    assert outages.now() == str(AWAY)
    outages.back("renew")
    assert said.messages == ["server away"], "the other one still meets it"
    outages.back("reconcile")
    outages.back("reconcile")
    assert said.messages == ["server away", "server back"]
    assert outages.now() is None


def test_another_trouble_is_another_line(said: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    gone(outages, "renew")
    gone(outages, "renew", FULL)
    gone(outages, "renew", FULL)
    assert said.messages == ["server away"] * 2


def test_an_outage_that_comes_again_is_said_again(said: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    for _ in range(2):
        gone(outages, "renew")
        outages.back("renew")
    assert said.messages == ["server away", "server back"] * 2
