"""Workers that differ from the Procfile's in one thing, so that a test need not wait for minutes.

`dramatiq tests.acceptance.hasty:short_leases` frees a dead worker's certificates after 6 seconds instead of 25;
`dramatiq tests.acceptance.hasty:three_of_each` also sends every message three times. `impatient` is a `knit` that soon
believes that nobody is there.
"""

from __future__ import annotations

import uuid
from typing import Any

import dramatiq

from knit import cli
from knit.cli import progress, revoking
from knit.queue.base import Queue
from knit.store.leases.leases import Leases
from rig import forks
from rig.installation import Installation, Result
from rig.process import Process, wait_until
from tests.acceptance.scene import Scene
from workers import main

LIFETIME, GRACE = 6.0, 2.0
"""Seconds."""


def short_leases() -> None:
    """Set a worker process up."""
    # What every room has by default, whichever of them makes the leases.
    defaults = vars(Leases)["__init__"].__kwdefaults__
    assert defaults.keys() == {"lifetime", "refresh_every"}
    defaults.update(lifetime=LIFETIME, refresh_every=1.0)
    main.setup()


def three_of_each() -> None:
    """Set a worker process up that sends each message three times, as three messages."""
    once = Queue.send

    def thrice(queue: Queue, message: dramatiq.Message[Any]) -> None:
        for _ in range(3):
            once(queue, message.copy(message_id=str(uuid.uuid4())))

    whole: Any = Queue
    whole.send = thrice
    short_leases()


def impatient() -> None:
    """`knit`, which believes after 2 seconds instead of 15 that nobody is there."""
    for module in (progress, revoking):
        assert vars(module)["GRACE"] > GRACE
        vars(module)["GRACE"] = GRACE
    cli.main()


def knit(installation: Installation, *words: str, **env: str) -> Result:
    """Run an impatient `knit` to its end."""
    environment = installation.environment(**env)
    done = forks.run(impatient, ["knit", *words], environment=environment, directory=installation.home, seconds=120)
    return Result(code=done.code, out=done.out, err=done.err)


def worker(knit: Installation, queue: str, *, setup: str = "short_leases", threads: int = 8) -> Process:
    """Start one for this queue."""
    command = ["dramatiq", f"tests.acceptance.hasty:{setup}", "--queues", queue, "--processes", "1"]
    options = ["--threads", str(threads), "--skip-logging", "--worker-shutdown-timeout", "10000"]
    return knit.serve(f"hasty-{queue}", ["dramatiq_worker_timeout=100", *command, *options])


def issued_but_not_published(scene: Scene, count: int) -> None:
    """Fan a pass out to a renewing worker, and take the publisher away before anything is issued."""
    fans_out = worker(scene.knit, "control")
    scene.wait_for_schema()
    begun = "select count(*) from knit_attempts"
    wait_until(lambda: bool(scene.sql(begun)[0][0] == count), "every attempt begun", seconds=30)
    fans_out.kill()
    waiting = "select count(*) from knit_attempts where step = 'issued' and ended_at is null"
    wait_until(lambda: bool(scene.sql(waiting)[0][0] == count), "all issued, none published", seconds=60)
