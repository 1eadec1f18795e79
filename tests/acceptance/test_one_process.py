"""`knit renew` and `knit watch` as two daemons, with no queue and no worker hosts: all that a small site runs."""

from __future__ import annotations

import signal
import time

from rig.installation import BIN
from rig.process import Process, wait_until
from tests.acceptance.scene import ZONE, Scene

NAMES = tuple(f"d{number:02}.{ZONE}" for number in range(20))
STOPS_WITHIN = 10.0


def renewing(scene: Scene) -> Process:
    return scene.knit.run("renew", [str(BIN / "knit"), "renew"], KNIT_QUEUE_URL="")


def test_a_daemon_is_not_ended_by_a_hang_up_and_in_order_by_a_quit(scripted: Scene) -> None:
    """A hang-up asks for a pass, as it asks a node for a look."""
    daemon = renewing(scripted)
    scripted.wait_for_schema()
    scripted.insert(NAMES[:1])
    daemon.send(signal.SIGHUP)
    scripted.knit.wait_published(1)
    scripted.insert(NAMES[1:2])
    daemon.send(signal.SIGHUP)
    scripted.knit.wait_published(2)
    daemon.send(signal.SIGQUIT)
    assert daemon.wait(seconds=STOPS_WITHIN) == 0
    assert "Traceback" not in daemon.text()


def test_a_daemon_that_is_told_to_stop_is_gone_in_seconds_and_its_successor_finishes_its_orders(
    scripted: Scene,
) -> None:
    scripted.insert(NAMES)
    ca = scripted.scripted
    ca.script(delay_ms=400)
    first = renewing(scripted)
    scripted.wait_for_schema()
    node = scripted.knit.watch(scripted.tls, KNIT_RELOAD_CMD=f"echo reloaded >> {scripted.reloads}")
    scripted.knit.wait_published(3)

    began = time.monotonic()
    first.send(signal.SIGTERM)
    assert first.wait(seconds=STOPS_WITHIN) == 0
    assert time.monotonic() - began < STOPS_WITHIN
    assert scripted.knit.published() < len(NAMES)
    assert "Traceback" not in first.text()

    renewing(scripted)
    scripted.knit.wait_published(len(NAMES), seconds=60)
    counted = ca.counts()["names"]
    assert {names: (count["orders"], count["finalized"]) for names, count in counted.items()} == dict.fromkeys(
        NAMES, (1, 1)
    )
    keys = [scripted.tls / f"{name}.key" for name in NAMES]
    wait_until(lambda: all(key.exists() for key in keys), "every pair on the node", seconds=20)
    wait_until(lambda: not scripted.challenges(), "no TXT record left")
    node.send(signal.SIGTERM)
    assert node.wait(seconds=STOPS_WITHIN) == 0
    assert 1 <= scripted.reloaded() < len(NAMES)


def test_a_daemon_renews_by_itself_what_its_ca_would_have_renewed_at_once(scripted: Scene) -> None:
    window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    scripted.scripted.behave(ari={"suggestedWindow": window, "explanationURL": "https://ca.example/incident"})
    daemon = renewing(scripted)
    scripted.wait_for_schema()
    scripted.insert(NAMES[:1])
    daemon.send(signal.SIGHUP)
    scripted.knit.wait_published(1)
    wait_until(
        lambda: scripted.scripted.counts_of(NAMES[0]).get("replacing") == 1,
        "an order in place of the first certificate",
        seconds=100,
    )
    daemon.send(signal.SIGTERM)
    assert daemon.wait(seconds=STOPS_WITHIN) == 0
    assert "Traceback" not in daemon.text()
