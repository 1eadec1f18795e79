"""renew of one certificate, through workers and without; and the daemon."""

from __future__ import annotations

import signal

from rig.process import wait_until
from tests.acceptance.scene import Scene

HERE = {"KNIT_QUEUE_URL": ""}


def working(scene: Scene) -> Scene:
    """The scene with the Procfile's workers, and no scheduler: nothing happens that was not asked for."""
    for name in ("worker-control", "worker-renew"):
        scene.knit.start(name)
    scene.wait_for_schema()
    there = "select count(*) from knit_workers"
    wait_until(lambda: bool(scene.sql(there)[0][0] == 2), "both are there", seconds=30)
    return scene


def test_a_renewal_by_workers_is_followed_to_its_end(scene: Scene) -> None:
    # Added without a queue: with one, the workers would look for it by themselves.
    queue = scene.knit.settings["KNIT_QUEUE_URL"]
    scene.knit.settings |= HERE
    one = str(scene.add("www.knit.example"))
    scene.knit.settings["KNIT_QUEUE_URL"] = queue
    working(scene)

    done = scene.knit.knit("renew", "--id", one, "--wait")
    assert (done.code, done.out[:51]) == (0, "certificate 1 (www.knit.example): published, valid "), done.err
    assert done.err.splitlines()[0].endswith((" waiting for a worker", " is due", " an order"))

    again = scene.knit.knit("renew", "--domains", "www.knit.example", "--wait")
    assert again.code == 0
    assert "not due before 20" in again.out

    refused = scene.knit.knit("renew", "--id", one, "--force", "--wait")
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert "less than a day ago" in refused.err
    assert "5 a week" in refused.err
    assert len(scene.pebble.orders()) == 1
    forced = scene.knit.knit("renew", "--id", one, "--force", "--again", "--wait", "--json")
    assert forced.code == 0
    assert forced.json["result"] == "published"
    assert forced.json["not_after"] > "20"


def test_a_renewal_that_fails_at_a_worker_is_exit_1_with_cause_and_next_try(scene: Scene) -> None:
    one = str(working(scene).knit.add("www.knit.example", provider="desec"))
    done = scene.knit.knit("renew", "--id", one, "--wait")
    assert done.code == 1
    assert "failed: DNS provider desec: not set: DESEC_TOKEN" in done.err
    assert "; next try 20" in done.err
    assert "stays" not in done.err
    assert "Traceback" not in done.err


def test_without_waiting_the_renewal_is_left_to_the_workers(scene: Scene) -> None:
    one = str(scene.add("www.knit.example"))
    queued = scene.knit.knit("renew", "--id", one)
    said = "queued; start worker-renew and worker-control: neither runs"
    assert (queued.code, queued.out) == (0, f"certificate 1 (www.knit.example): {said}\n")
    assert "No scheduler runs" in queued.err
    working(scene).knit.wait_published(1)
    again = scene.knit.knit("renew", "--id", one)
    assert (again.code, again.out) == (0, "certificate 1 (www.knit.example): queued for the workers\n")


def test_without_a_queue_the_renewal_happens_here(scene: Scene) -> None:
    one = str(scene.add("www.knit.example"))
    done = scene.knit.knit("renew", "--id", one, env=HERE)
    assert done.code == 0, done.err
    assert "published, valid until 20" in done.out
    again = scene.knit.knit("renew", "--id", one, "--json", env=HERE)
    assert (again.code, again.json["result"]) == (0, "not_due")


def test_a_failure_here_is_said_once(scene: Scene) -> None:
    """Whoever asked is told it; the log tells what else happened."""
    one = str(scene.knit.add("www.knit.example", provider="desec"))
    for more in ([], ["--force", "--wait"]):
        failed = scene.knit.knit("renew", "--id", one, *more, env=HERE)
        assert (failed.code, failed.err.count("DESEC_TOKEN")) == (1, 1), failed.err
    record = scene.knit.knit("renew", "--id", one, "--force", "--json", env=HERE)
    assert (record.code, record.out.count("DESEC_TOKEN"), record.err.count("DESEC_TOKEN")) == (1, 1, 0), record.err
    whole = scene.once()
    assert (whole.code, whole.err.count("DESEC_TOKEN")) == (1, 0), "a pass in which nothing was tried"
    away = scene.knit.knit("renew", "--id", one, "--force", env={**HERE, "KNIT_VALKEY_URL": "redis://127.0.0.1:1"})
    assert (away.code, away.err.count("knit: "), away.err.count("level=ERROR")) == (1, 1, 0), away.err


def test_the_daemon_issues_and_stops_on_sigterm(scene: Scene) -> None:
    scene.add("www.knit.example")
    daemon = scene.knit.run("renew", ["knit", "renew"], **HERE)
    scene.knit.wait_published(1)
    daemon.send(signal.SIGTERM)
    assert daemon.wait(seconds=10) == 0, daemon.text()
    assert "Traceback" not in daemon.text()


AWAY = {"DNSUPDATE_NAMESERVER": "127.0.0.1:1"}


def test_a_certificate_that_was_never_issued_and_waits_is_exit_1_however_one_asks(scene: Scene) -> None:
    one = str(scene.add("www.knit.example"))
    assert scene.once(**AWAY).code == 1

    again = scene.once()
    assert again.code == 1, "in backoff, nothing was tried"
    assert "not as wanted: 1 (`knit list --failing` says why)" in again.err
    asked = scene.knit.knit("renew", "--id", one, env=HERE)
    assert (asked.code, "next try 20" in asked.err) == (1, True), asked.err
    assert "(nothing was tried now; `--force` tries at once)" in asked.err
    working(scene)
    waited = scene.knit.knit("renew", "--id", one, "--wait")
    assert (waited.code, "next try 20" in waited.err) == (1, True), waited.err
    assert scene.knit.knit("list").code == 0


def test_a_pass_is_exit_1_while_a_row_is_left_out_or_a_renewal_fails(scene: Scene) -> None:
    scene.insert(["www.knit.example"])
    assert scene.once().code == 0
    scene.sql("update knit_schedule set failures = 1, retry_at = now() + interval '1 day'")
    scene.sql("update knit_certs set last_error = 'x'")
    assert scene.once().code == 1, "a renewal that waits"
    scene.sql("update knit_schedule set failures = 0, retry_at = null")
    assert scene.once().code == 0
    scene.sql("update knit_certs set domains = 'b_d.knit.example'")
    assert scene.once().code == 1, "a row that is left out"
    scene.sql("update knit_certs set enabled = false")
    assert scene.once().code == 0, "a disabled one is not wanted"
