"""A command that changes the list is acted on within seconds by a running centre, and else says what to run."""

from __future__ import annotations

import re
import time
from typing import LiteralString

import pytest

from rig.process import wait_until
from tests.acceptance.scene import ZONE, Scene

NAME = f"www.{ZONE}"
SECONDS = 20
CHANGED: LiteralString = """
insert into knit_marks (name, done_at) values ('list changed', now())
on conflict (name) do update set done_at = excluded.done_at
"""
ALONE = {"KNIT_QUEUE_URL": ""}


def centre(scene: Scene, *, queue: bool) -> None:
    """One that is done with its first pass, and whose next is 12 hours away."""
    more = {"KNIT_RENEW_INTERVAL": "12h", **({} if queue else ALONE)}
    if queue:
        for name in ("scheduler", "worker-control", "worker-renew"):
            scene.knit.start(name, **more)
    else:
        scene.knit.settings.update(ALONE)
        scene.knit.run("renew", ["knit", "renew"], **more)
    wait_until(lambda: "0 certificates, 0 due" in scene.knit.logs(), "the first pass", seconds=30)
    time.sleep(1)


@pytest.mark.parametrize("queue", [True, False], ids=["with a queue", "in one process"])
def test_a_running_centre_acts_on_each_change_within_seconds(scripted: Scene, queue: bool) -> None:
    centre(scripted, queue=queue)
    one = str(scripted.add(NAME))
    scripted.knit.wait_published(1, seconds=SECONDS)

    disabled = scripted.knit.knit("disable", "--id", one)
    assert "The running centre acts on it within seconds." in disabled.err
    wait_until(lambda: scripted.index() == set(), "it is taken out", seconds=SECONDS)

    assert scripted.knit.knit("enable", "--id", one).code == 0
    wait_until(lambda: scripted.index() == {f"certs:{NAME}"}, "it is back", seconds=SECONDS)

    assert scripted.knit.knit("remove", "--id", one).code == 0
    wait_until(lambda: scripted.index() == set(), "it is removed", seconds=SECONDS)


def test_certificates_added_one_after_the_other_are_issued_in_one_pass(scripted: Scene) -> None:
    centre(scripted, queue=False)
    for number in range(4):
        scripted.insert([f"w{number}.{ZONE}"])
        # As `knit add` does it, in less time than that takes on a busy machine.
        scripted.sql(CHANGED)
        time.sleep(1.2)
    scripted.knit.wait_published(4, seconds=SECONDS)
    figures = re.findall(r"(\d+) certificates?, (\d+) due", scripted.knit.logs())
    assert figures[:2] == [("0", "0"), ("4", "4")], figures


def test_without_a_scheduler_workers_hear_of_it_through_the_queue(scripted: Scene) -> None:
    for name in ("worker-control", "worker-renew"):
        scripted.knit.start(name)
    scripted.wait_for_schema()
    scripted.add(NAME)
    scripted.knit.wait_published(1, seconds=SECONDS)


def test_where_no_centre_runs_a_command_says_what_to_run(scripted: Scene) -> None:
    scripted.knit.settings.update(ALONE)
    scripted.add(NAME)
    done = scripted.knit.knit("disable", "--id", "1")
    assert done.code == 0
    assert "Nothing happens before a centre runs" in done.err
    assert "`knit renew --once` acts on it now" in done.err
    assert scripted.knit.knit("enable", "--id", "1", "--json").err == ""
