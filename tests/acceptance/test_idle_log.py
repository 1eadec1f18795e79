"""What the centre logs while nothing happens, and while its servers are away."""

from __future__ import annotations

import base64
import re
import time

import pytest

from rig.postgres import Postgres
from rig.process import wait_until
from tests.acceptance.scene import ZONE, Scene

NAMES = (f"a.{ZONE}", f"b.{ZONE}")
PASS = re.compile(r'msg="2 certificates, 0 due, 0 failing; next pass (\d{4}-\d\d-\d\d )?\d\d:\d\d( UTC)?"')

pytestmark = pytest.mark.timeout(180)


def lines(scene: Scene) -> list[str]:
    return [line for line in scene.knit.logs().splitlines() if line.startswith("time=")]


def idle(scene: Scene, interval: str) -> None:
    """All is published, and what was to be said about that has been said."""
    # Without it each start says that account keys lie in clear.
    scene.knit.settings["KNIT_SECRET_KEY"] = base64.b64encode(bytes(32)).decode()
    scene.insert(NAMES)
    assert scene.once().code == 0
    for name in ("scheduler", "worker-control", "worker-renew"):
        scene.knit.start(name, KNIT_RENEW_INTERVAL=interval)
    wait_until(lambda: any(map(PASS.search, lines(scene))), "a pass with nothing to do", seconds=30)


def test_an_idle_centre_says_one_line_for_each_pass(scripted: Scene) -> None:
    idle(scripted, "3s")
    before = len(lines(scripted))
    time.sleep(10)
    said = lines(scripted)[before:]
    assert 2 <= len(said) <= 5
    assert all(map(PASS.search, said)), said


def test_between_two_passes_it_says_nothing(scripted: Scene) -> None:
    idle(scripted, "1h")
    # What was published just now is looked at once more.
    time.sleep(5)
    before = len(lines(scripted))
    time.sleep(10)
    assert lines(scripted)[before:] == []


def test_a_postgres_that_is_away_is_said_once_by_each_process_and_so_is_its_return(
    own_postgres_scene: Scene, own_postgres: Postgres
) -> None:
    scene = own_postgres_scene
    idle(scene, "3s")
    before = set(lines(scene))
    own_postgres.stop()
    time.sleep(20)
    own_postgres.start()
    wait_until(lambda: "server back" in scene.knit.logs(), "its return", seconds=40)
    time.sleep(5)
    said = [line for line in lines(scene) if line not in before and not PASS.search(line)]
    assert all("server away" in line or "server back" in line for line in said), said
    assert all("PostgreSQL" in line for line in said)
    assert all("kept=" in line and "again_in=" in line for line in said if "server away" in line)
    # The scheduler, and the worker of passes, if a pass was on its way.
    assert 2 <= len(said) <= 6


def test_a_queue_that_is_away_is_called_the_queue_and_leaves_no_traceback(scripted: Scene) -> None:
    scripted.insert(NAMES)
    assert scripted.once().code == 0
    scripted.knit.start("worker-control")
    queue = scripted.servers.queue
    wait_until(lambda: queue.client().zcard("dramatiq:__heartbeats__") > 0, "a worker", seconds=30)
    queue.stop()
    try:
        wait_until(lambda: "server away" in scripted.knit.logs(), "the outage", seconds=30)
        time.sleep(8)
    finally:
        queue.start()
    wait_until(lambda: "server back" in scripted.knit.logs(), "its return", seconds=30)
    said = [line for line in lines(scripted) if "server " in line]
    assert [re.findall('msg="([^"]*)"', line)[0] for line in said] == ["server away", "server back"]
    assert all("the queue at" in line and str(queue.port) in line for line in said)
    assert "Traceback" not in scripted.knit.logs()
