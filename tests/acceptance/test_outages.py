"""A server that is away for some seconds costs seconds, whoever needed it and however long the interval is."""

from __future__ import annotations

import time

import pytest

from rig.postgres import Postgres
from rig.process import wait_until
from tests.acceptance.scene import ZONE, Scene

NAME = f"www.{ZONE}"
SOON = 40.0
"""Seconds in which all is made up for once the server is back. The interval is 12 hours."""

pytestmark = pytest.mark.timeout(240)


def started(scene: Scene) -> None:
    for name in ("scheduler", "worker-control", "worker-renew"):
        scene.knit.start(name, KNIT_RENEW_INTERVAL="12h")
    scene.wait_for_schema()


def said(scene: Scene, words: str) -> int:
    return scene.knit.logs().count(words)


def generation(scene: Scene) -> int:
    found: int = scene.value(f"certs:{NAME}")["knit"]["generation"]
    return found


def test_a_valkey_that_is_away_when_the_pass_begins(own_valkey_scene: Scene) -> None:
    scene = own_valkey_scene
    scene.insert([NAME])
    scene.servers.valkey.stop()
    started(scene)
    wait_until(lambda: said(scene, "server away") > 0, "the outage is said", seconds=30)
    time.sleep(10)
    scene.servers.valkey.start()
    scene.knit.wait_published(1, seconds=SOON)
    wait_until(lambda: said(scene, "server back") > 0, "the end of it is said", seconds=30)
    assert said(scene, 'msg="server away"') <= 4, "one line for each process and kind of trouble, not for each try"


def test_a_valkey_that_is_away_when_a_renewal_is_asked_for(own_valkey_scene: Scene) -> None:
    scene = own_valkey_scene
    scene.insert([NAME])
    started(scene)
    scene.knit.wait_published(1)
    before = generation(scene)
    scene.servers.valkey.stop()
    assert scene.knit.knit("renew", "--domains", NAME, "--force", "--again").code == 0
    time.sleep(10)
    scene.servers.valkey.start()
    wait_until(lambda: generation(scene) > before, "the renewal that was asked for", seconds=SOON)


def test_a_postgres_that_is_away_when_a_renewal_is_asked_for(own_postgres_scene: Scene, own_postgres: Postgres) -> None:
    scene = own_postgres_scene
    scene.insert([NAME])
    started(scene)
    scene.knit.wait_published(1)
    before = generation(scene)
    scene.scripted.script(delay_ms=700)
    assert scene.knit.knit("renew", "--domains", NAME, "--force", "--again").code == 0
    time.sleep(0.5)
    own_postgres.stop()
    # Longer than anybody waits for an answer, so that nothing is noted and no lease is given back.
    time.sleep(12)
    own_postgres.start()
    wait_until(lambda: generation(scene) > before, "the renewal that was asked for", seconds=SOON)
    assert scene.scripted.counts_of(NAME)["finalized"] == 2


def test_a_valkey_that_goes_away_while_the_ca_issues(own_valkey_scene: Scene) -> None:
    scene = own_valkey_scene
    scene.insert([NAME])
    scene.scripted.script(delay_ms=500)
    started(scene)
    wait_until(lambda: scene.scripted.counts_of(NAME).get("orders") == 1, "an order", seconds=60)
    scene.servers.valkey.stop()
    wait_until(lambda: said(scene, "server away") > 0, "the outage is said", seconds=30)
    time.sleep(8)
    assert scene.sql("select last_error from knit_certs") == [(None,)]
    scene.servers.valkey.start()
    scene.knit.wait_published(1, seconds=SOON)
    assert scene.scripted.counts_of(NAME)["finalized"] == 1


def test_a_queue_that_is_away_when_a_bundle_is_handed_over(own_queue_scene: Scene) -> None:
    scene = own_queue_scene
    scene.insert([NAME])
    scene.scripted.script(delay_ms=500)
    started(scene)
    wait_until(lambda: scene.scripted.counts_of(NAME).get("orders") == 1, "an order", seconds=60)
    scene.servers.queue.stop()
    issued = "select count(*) from knit_attempts where step = 'issued'"
    wait_until(lambda: bool(scene.sql(issued)[0][0]), "a bundle that nobody hears of", seconds=60)
    time.sleep(5)
    scene.servers.queue.start()
    scene.knit.wait_published(1, seconds=SOON)
    assert scene.scripted.counts_of(NAME)["finalized"] == 1
