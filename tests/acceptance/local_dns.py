"""knit's processes in a DNS of the test's own: name servers listen at its port instead of 53, deSEC is on this machine.

`knit` runs a command, and `dramatiq tests.acceptance.local_dns:worker` is a worker that frees a dead one's certificates
after seconds. RIG_DNS_PORT and RIG_DESEC_URL say where they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dns.name
import dns.query
import dns.rcode
import dns.tsigkeyring
from dns.update import UpdateMessage

from knit import cli
from knit.app import proving
from knit.dns import delegation
from knit.providers import desec
from rig import forks
from rig.bind import Bind
from rig.installation import ROOT, Result
from rig.knot import Knot
from rig.process import Process
from tests.acceptance import hasty
from tests.acceptance.scene import ZONE, Scene

SECONDS = 60


def _move() -> None:
    looking: Any = partial(delegation.Looking, authority_port=int(os.environ["RIG_DNS_PORT"]))
    vars(delegation)["Looking"] = vars(proving)["Looking"] = looking
    if "RIG_DESEC_URL" in os.environ:
        vars(desec)["Desec"] = partial(desec.Desec, url=os.environ["RIG_DESEC_URL"])


def worker() -> None:
    """Set a worker process up."""
    _move()
    hasty.short_leases()


def main() -> None:
    """`knit` in this DNS."""
    _move()
    cli.main()


def knit(scene: Scene, *words: str, env: Mapping[str, str]) -> Result:
    """Run a `knit` command to its end."""
    environment = scene.knit.environment(**env)
    done = forks.run(main, ["knit", *words], environment=environment, directory=ROOT, seconds=SECONDS)
    return Result(code=done.code, out=done.out, err=done.err)


def update(server: Bind | Knot, change: Callable[[UpdateMessage], None], zone: str = ZONE) -> None:
    """Change a zone as its owner would."""
    ring = dns.tsigkeyring.from_text({server.key.name: server.key.secret})
    name = dns.name.from_text(server.key.name)
    message = UpdateMessage(zone, keyring=ring, keyname=name, keyalgorithm=server.key.algorithm)
    change(message)
    assert dns.query.tcp(message, "127.0.0.1", port=server.port, timeout=5).rcode() == dns.rcode.NOERROR


def start_worker(scene: Scene, queue: str, *, threads: int, env: Mapping[str, str]) -> Process:
    """Start a worker for this queue."""
    command = ["dramatiq", "tests.acceptance.local_dns:worker", "--queues", queue, "--processes", "1"]
    options = ["--threads", str(threads), "--skip-logging", "--worker-shutdown-timeout", "10000"]
    return scene.knit.serve(f"local-{queue}", ["dramatiq_worker_timeout=100", *command, *options], **env)
