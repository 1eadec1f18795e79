"""Whatever breaks in the middle of a pass: all converges when it is whole again, and nothing is ordered twice."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg import sql

from rig.postgres import Postgres
from rig.process import wait_until
from tests.acceptance import hasty
from tests.acceptance.scene import ZONE, Scene

TICK = "2s"
SOME = tuple(f"s{number:02}.{ZONE}" for number in range(30))

pytestmark = pytest.mark.timeout(180)


def finalized(scene: Scene) -> dict[str, int]:
    """How often each set of names was finalized, counted at the CA."""
    counts = scene.scripted.counts()["names"]
    return {names: count["finalized"] for names, count in counts.items() if "finalized" in count}


def settled(scene: Scene, names: tuple[str, ...]) -> None:
    """All are published after one finalized order each, and nothing is left over anywhere."""
    scene.knit.wait_published(len(names), seconds=90)
    assert finalized(scene) == dict.fromkeys(names, 1)
    assert scene.index() == {f"certs:{name}" for name in names}
    wait_until(lambda: not scene.challenges(), "no TXT record left", seconds=30)
    wait_until(lambda: not scene.staged(), "nothing left in staging", seconds=30)
    assert scene.sql("select id from knit_attempts where ended_at is null") == []


def start_all(scene: Scene, *, setup: str = "short_leases") -> None:
    scene.knit.start("scheduler", KNIT_RENEW_INTERVAL=TICK)
    hasty.worker(scene.knit, "control", setup=setup)
    hasty.worker(scene.knit, "renew", setup=setup)
    scene.wait_for_schema()


def test_an_emptied_queue_costs_one_interval_and_no_order(scripted: Scene) -> None:
    scripted.insert(SOME)
    scripted.scripted.script(delay_ms=100)
    start_all(scripted)
    scripted.knit.wait_published(5)
    scripted.servers.queue.flush()
    settled(scripted, SOME)


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_postgres_that_is_stopped_or_killed_in_the_middle_of_a_pass_costs_no_order(
    own_postgres_scene: Scene, own_postgres: Postgres, end: str
) -> None:
    scene = own_postgres_scene
    scene.insert(SOME)
    scene.scripted.script(delay_ms=100)
    start_all(scene)
    scene.knit.wait_published(5)
    own_postgres.stop() if end == "stopped" else own_postgres.kill()
    time.sleep(1)
    own_postgres.start()
    settled(scene, SOME)


def test_a_valkey_that_stops_between_issue_and_publication_costs_no_order(own_valkey_scene: Scene) -> None:
    scene = own_valkey_scene
    scene.insert(SOME)
    scene.scripted.script(delays_ms={"finalize": 2000})
    scene.knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    hasty.worker(scene.knit, "renew", threads=len(SOME))
    hasty.issued_but_not_published(scene, len(SOME))

    scene.servers.valkey.stop()
    publishes = hasty.worker(scene.knit, "control")
    time.sleep(3)
    assert publishes.is_running()
    scene.servers.valkey.start()
    scene.knit.start("scheduler", KNIT_RENEW_INTERVAL=TICK)
    settled(scene, SOME)


def test_every_message_delivered_three_times_makes_one_order_for_each_certificate(scripted: Scene) -> None:
    scripted.insert(SOME)
    start_all(scripted, setup="three_of_each")
    settled(scripted, SOME)
    totals = scripted.scripted.counts()["totals"]
    assert (totals["orders"], totals["accounts"]) == (len(SOME), 1)


STEPS = ("newOrder", "authz", "challenge", "finalize", "order", "certificate")
"""Requests of one issuance. The CA does what is asked, and the worker dies while it reads the answer."""


def test_a_worker_killed_at_any_step_of_an_order_costs_no_second_one(scripted: Scene) -> None:
    names = {step: f"{step.lower()}.{ZONE}" for step in STEPS}
    scripted.insert(names.values())
    ca = scripted.scripted
    ca.behave_for(names["order"], validation="dns", processing_polls=2)
    for step, name in names.items():
        ca.fault(step, names=(name,), act="drip", when="after", seconds=60, times=0)
    scripted.knit.start("scheduler", KNIT_RENEW_INTERVAL=TICK)
    control, renew = hasty.worker(scripted.knit, "control"), hasty.worker(scripted.knit, "renew")

    def each_at_its_step() -> bool:
        seen = {(entry["kind"], entry["names"]) for entry in ca.journal()}
        return seen >= set(names.items())

    wait_until(each_at_its_step, "every order at its own step", seconds=60)
    time.sleep(0.5)
    renew.kill()
    control.kill()
    ca.clear_faults()
    assert scripted.challenges() != [], "a worker that is killed leaves its records"

    hasty.worker(scripted.knit, "control")
    hasty.worker(scripted.knit, "renew")
    settled(scripted, tuple(names.values()))
    orders = {name: ca.counts_of(name)["orders"] for name in names.values()}
    # The URL of an order whose answer was lost is known to nobody: it is made anew, and the first one expires.
    assert orders == {**dict.fromkeys(names.values(), 1), names["newOrder"]: 2}


def test_a_killed_workers_certificate_is_taken_up_within_45_seconds_without_a_second_finalize(scripted: Scene) -> None:
    name = f"killed.{ZONE}"
    scripted.insert([name])
    ca = scripted.scripted
    ca.fault("finalize", act="drip", when="after", seconds=60)
    scripted.knit.start("scheduler", KNIT_RENEW_INTERVAL="1h")
    scripted.knit.start("worker-control")
    killed = scripted.knit.start("worker-renew")
    wait_until(lambda: ca.counts_of(name).get("finalized") == 1, "the order finalized", seconds=60)
    scripted.knit.start("worker-renew")
    time.sleep(3)
    killed.kill()
    began = time.monotonic()
    settled(scripted, (name,))
    print(f"taken up and published {time.monotonic() - began:.1f} s after the kill")  # noqa: T201 -- a figure
    assert time.monotonic() - began < 50, "45 s, and what the rest of the order takes"
    assert ca.counts_of(name)["finalized"] == 1


def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(scripted: Scene) -> None:
    name = f"slow.{ZONE}"
    scripted.insert([name])
    ca = scripted.scripted
    ca.fault("finalize", act="drip", when="after", seconds=5)
    scripted.knit.start("scheduler", KNIT_RENEW_INTERVAL=TICK)
    hasty.worker(scripted.knit, "control")
    sleeper = hasty.worker(scripted.knit, "renew")
    wait_until(lambda: ca.counts_of(name).get("finalized") == 1, "the order finalized", seconds=60)
    time.sleep(0.5)
    sleeper.pause()

    time.sleep(hasty.LIFETIME)
    hasty.worker(scripted.knit, "renew")
    settled(scripted, (name,))
    before = (scripted.values(), scripted.revision(), scripted.sql("select * from knit_attempts"))
    sleeper.resume()
    wait_until(lambda: "broken off: the lease is lost" in sleeper.text(), "the sleeper to notice", seconds=40)
    time.sleep(2)
    assert (scripted.values(), scripted.revision(), scripted.sql("select * from knit_attempts")) == before
    assert (ca.counts_of(name)["orders"], ca.counts_of(name)["finalized"]) == (1, 1)
    assert scripted.challenges() == scripted.staged() == []


def test_after_an_older_database_is_restored_generations_jump_above_what_is_published(
    scripted: Scene, postgres: Postgres
) -> None:
    name = f"www.{ZONE}"
    force = ("renew", "--domains", name, "--force", "--again")
    scripted.insert([name])
    assert scripted.once().code == 0
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        database = sql.Identifier(scripted.servers.database.rpartition("/")[2])
        connection.execute(sql.SQL("create database restored template {}").format(database))
    for _ in range(2):
        assert scripted.knit.knit(*force, env={"KNIT_QUEUE_URL": ""}).code == 0
    newest = scripted.value(f"certs:{name}")
    done = scripted.knit.knit(*force, env={"KNIT_QUEUE_URL": "", "KNIT_DB_URL": postgres.url_of("restored")})
    postgres.drop_database("restored")
    assert done.code == 0, done.err
    value = scripted.value(f"certs:{name}")
    assert value["knit"]["generation"] > newest["knit"]["generation"]
    assert value["sha256"] != newest["sha256"]
