"""Whoever waits for a renewal is told what it waits for, and does not wait for what nobody is going to do."""

from __future__ import annotations

import base64
import re
import signal
import time
from contextlib import closing

import pytest

from knit.core.renewal import LOST_AGAIN
from rig.installation import Result
from rig.postgres import Postgres
from rig.process import Process, wait_until
from tests.acceptance import hasty
from tests.acceptance.scene import ZONE, Scene

NAME = f"www.{ZONE}"
ALONE = {"KNIT_QUEUE_URL": ""}
WORKERS = ("worker-control", "worker-renew")
LINE = re.compile(r" *\d+\.\d s  \S.*")

pytestmark = pytest.mark.timeout(180)


def added(scene: Scene, *workers: str) -> Scene:
    """One certificate that nobody has heard of, and these processes, each of them there."""
    queue = scene.knit.settings["KNIT_QUEUE_URL"]
    # Without a key to seal with each start says that account keys lie in clear.
    scene.knit.settings |= {**ALONE, "KNIT_SECRET_KEY": base64.b64encode(bytes(32)).decode()}
    scene.add(NAME)
    scene.knit.settings["KNIT_QUEUE_URL"] = queue
    for name in workers:
        scene.knit.start(name, KNIT_DNS_PROPAGATION_WAIT="2s")
    there(scene, len([name for name in workers if name != "scheduler"]))
    return scene


def there(scene: Scene, count: int) -> None:
    workers = "select count(*) from knit_workers"
    wait_until(lambda: bool(scene.sql(workers)[0][0] == count), "all workers are there", seconds=40)


def waited(scene: Scene, *more: str, **env: str) -> Result:
    return scene.knit.knit("renew", "--id", "1", "--wait", *more, env=env, timeout=120)


def soon(scene: Scene) -> Result:
    """The same, by a command that soon believes that nobody is there."""
    return hasty.knit(scene.knit, "renew", "--id", "1", "--wait")


def waiting(scene: Scene, *words: str, **more: str) -> Process:
    """The command in the background."""
    return scene.knit.run("cli", ["knit", "renew", *(words or ("--id", "1", "--wait"))], **more)


@pytest.mark.parametrize("mode", ["workers", "alone", "a whole pass"])
def test_each_step_is_told_with_the_time_off_a_terminal(scripted: Scene, mode: str) -> None:
    added(scripted, *(WORKERS if mode == "workers" else ()))
    scripted.scripted.script(delay_ms=300)
    if mode == "a whole pass":
        done = scripted.knit.knit("renew", "--once", "--wait", env={"KNIT_DNS_PROPAGATION_WAIT": "2s"}, timeout=120)
    else:
        done = waited(scripted, **({} if mode == "workers" else {**ALONE, "KNIT_DNS_PROPAGATION_WAIT": "2s"}))
    assert done.code == 0, done.err
    assert all(map(LINE.fullmatch, done.err.splitlines())), done.err
    steps = (
        "asking the CA for an order",
        f"waiting until the DNS shows the TXT values of {NAME}",
        f"the CA is checking the proofs of {NAME}",
        "the CA is issuing",
        "issued; waiting to be published",
        "publishing",
    )
    found = [done.err.find(step) for step in steps]
    assert found == sorted(found), done.err
    assert [step for step in steps if step in done.err] == list(steps), done.err


@pytest.mark.parametrize(
    ("there", "to_start"),
    [
        ((), "start worker-renew and worker-control: neither runs"),
        (("worker-control",), "start worker-renew: it does not run"),
        (("worker-renew",), "start worker-control: it does not run"),
    ],
)
def test_a_wait_that_nobody_works_for_ends_and_says_what_to_start(
    scripted: Scene, there: tuple[str, ...], to_start: str
) -> None:
    done = soon(added(scripted, *there))
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == f"certificate 1 ({NAME}): not done: {to_start}"


def test_a_worker_that_is_killed_is_missed(scripted: Scene) -> None:
    added(scripted, *WORKERS)
    scripted.knit.processes[-1].kill()
    done = soon(scripted)
    assert done.code == 1
    assert "start worker-renew: it does not run" in done.err


def test_a_worker_that_stops_in_order_is_missed_at_once(scripted: Scene) -> None:
    added(scripted, *WORKERS)
    scripted.knit.processes[-1].send(signal.SIGTERM)
    assert scripted.knit.processes[-1].wait(seconds=12) == 0
    there(scripted, 1)


def test_what_is_asked_for_while_the_queue_is_away_is_done_as_soon_as_it_is_back(own_queue_scene: Scene) -> None:
    scene = own_queue_scene
    added(scene, "scheduler", *WORKERS)
    scene.knit.wait_published(1)
    time.sleep(3)
    (before,) = scene.sql("select issued_at from knit_issued")
    scene.servers.queue.stop()
    asked = scene.knit.knit("renew", "--id", "1", "--force", "--again")
    assert asked.code == 1
    assert "the scheduler has certificate 1 looked at once the queue is back" in asked.err
    gone = soon(scene)
    assert gone.code == 1
    assert re.search(r"not done: the queue at \S+ does not answer: start it", gone.err), gone.err
    scene.servers.queue.start()
    wait_until(lambda: scene.sql("select issued_at from knit_issued") != [before], "the renewal", seconds=40)


def test_a_centre_that_starts_does_what_was_asked_for_without_it(scripted: Scene) -> None:
    added(scripted)
    assert scripted.once(**ALONE).code == 0
    (before,) = scripted.sql("select issued_at from knit_issued")
    asked = scripted.knit.knit("renew", "--id", "1", "--force", "--again", "--json")
    assert (asked.code, asked.json["workers"], asked.json["scheduler"]) == (0, False, False)
    assert "No scheduler runs" in asked.err
    scripted.knit.run("renew", ["knit", "renew"], **ALONE, KNIT_RENEW_INTERVAL="12h")
    wait_until(lambda: scripted.sql("select issued_at from knit_issued") != [before], "the renewal", seconds=40)


def test_a_centre_without_a_queue_hears_of_it_within_seconds(scripted: Scene) -> None:
    added(scripted)
    scripted.knit.run("renew", ["knit", "renew"], **ALONE, KNIT_RENEW_INTERVAL="12h")
    scripted.knit.wait_published(1)
    there(scripted, 1)
    time.sleep(3)
    done = waited(scripted, "--force", "--again")
    assert (done.code, "published, valid until" in done.out) == (0, True), done.err
    queued = scripted.knit.knit("renew", "--id", "1")
    assert "left to the running centre, which acts within seconds" in queued.out


def test_a_wait_that_the_ca_asks_for_is_told_and_ctrl_c_leaves_it_to_the_workers(scripted: Scene) -> None:
    added(scripted, *WORKERS)
    scripted.scripted.fault("newOrder", times=0, status=429, type="rateLimited", headers={"Retry-After": "90"})
    command = waiting(scripted)
    wait_until(lambda: "as the CA asks: " in command.text(), "the wait is told", seconds=30)
    command.send(signal.SIGINT)
    assert command.wait(seconds=10) == 130
    assert "knit: interrupted; the workers go on with it; `knit show 1` tells how far they are" in command.text()


def test_a_long_wait_that_the_ca_asks_for_is_not_waited_for(scripted: Scene) -> None:
    added(scripted, *WORKERS)
    scripted.scripted.fault("newOrder", times=0, status=429, type="rateLimited", headers={"Retry-After": "7200"})
    done = waited(scripted)
    assert done.code == 1
    assert "not done: the CA asks to wait until 20" in done.err


def test_ctrl_c_is_answered_at_once_and_says_who_goes_on(scripted: Scene) -> None:
    added(scripted)
    nobody = waiting(scripted)
    wait_until(lambda: "worker-renew does not run" in nobody.text(), "it waits", seconds=30)
    nobody.send(signal.SIGINT)
    assert nobody.wait(seconds=10) == 130
    assert "interrupted; it begins once somebody works: start worker-renew and worker-control" in nobody.text()


@pytest.mark.parametrize("words", [("--id", "1"), ("--id", "1", "--wait"), ("--once",)], ids=" ".join)
def test_ctrl_c_is_answered_at_once_in_a_process_of_its_own(scripted: Scene, words: tuple[str, ...]) -> None:
    added(scripted)
    scripted.scripted.script(delay_ms=4000)
    command = waiting(scripted, *words, **ALONE)
    wait_until(lambda: scripted.sql("select 1 from knit_attempts") != [], "it has begun", seconds=30)
    command.send(signal.SIGINT)
    wait_until(lambda: "knit: interrupted; what is under way stops in order" in command.text(), "the answer", seconds=3)
    assert "the next `knit renew` goes on with the same order" in command.text()
    assert command.wait(seconds=10) == 130
    assert "Traceback" not in command.text()


def lose(scene: Scene) -> None:
    with closing(scene.servers.valkey.client()) as client:
        client.delete(f"certs:{NAME}")


@pytest.mark.parametrize("env", [{}, ALONE], ids=["workers", "alone"])
def test_a_lost_value_is_never_called_not_due(scripted: Scene, env: dict[str, str]) -> None:
    added(scripted, *(() if env else WORKERS))
    assert waited(scripted, **env).code == 0
    fine = waited(scripted, **env)
    assert (fine.code, "not due before 20" in fine.out) == (0, True), fine.err

    lose(scripted)
    found = waited(scripted, **env)
    assert (found.code, "published, valid until" in found.out) == (0, True), found.err

    scripted.sql(
        "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type,"
        " profile, serial, ended_at) select cert_id, 0, '', 'failed', 'published value is missing or damaged', names,"
        " provider, issuer, directory, key_type, profile, 'x', now() from knit_attempts, generate_series(1, 2) limit 2"
    )
    lose(scripted)
    braked = waited(scripted, **env)
    assert (braked.code, LOST_AGAIN in braked.err) == (1, True), braked.out
    assert scripted.once(**ALONE).code == 1
    assert "not as wanted: 1" in scripted.once(**ALONE).err


def test_what_another_process_is_on_is_waited_for(scripted: Scene) -> None:
    added(scripted)
    scripted.scripted.script(delays_ms={"finalize": 5000})
    first = waiting(scripted, "--id", "1", **ALONE)
    wait_until(lambda: scripted.sql("select 1 from knit_attempts") != [], "it has begun", seconds=30)
    second = waited(scripted, **ALONE)
    assert (second.code, "published, valid until" in second.out) == (0, True), second.err
    assert first.wait(seconds=20) == 0
    assert scripted.scripted.counts_of(NAME)["orders"] == 1


def test_a_wait_outlives_an_outage_of_postgresql(own_postgres_scene: Scene, own_postgres: Postgres) -> None:
    scene = own_postgres_scene
    added(scene, *WORKERS)
    scene.scripted.script(delay_ms=700)
    command = waiting(scene)
    wait_until(lambda: "asking the CA" in command.text(), "it has begun", seconds=30)
    own_postgres.stop()
    wait_until(lambda: "waiting for PostgreSQL: " in command.text(), "the outage is told", seconds=30)
    own_postgres.start()
    assert command.wait(seconds=60) == 0
