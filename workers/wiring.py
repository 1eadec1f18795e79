"""What the actors of a worker process call."""

from __future__ import annotations

from dataclasses import dataclass

from knit.app.clock import now
from knit.app.listeners import to_log
from knit.app.names import WORKER
from knit.app.worker import Worker, open_worker
from knit.outages import Outages
from knit.ports.events import Listener
from knit.ports.process import Sleep
from knit.settings.central import Worker as Settings
from knit.settings.environment import Environment
from workers.actors import Flows
from workers.retries import RetryShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """What a worker process has open, and the flows over it."""

    flows: Flows
    opened: Worker


def wire(
    settings: Settings, env: Environment, sleep: Sleep, outages: Outages, *, tell: Listener = to_log, name: str = WORKER
) -> Wired:
    """Open everything a worker needs; PostgreSQL hears of it under this name, `tell` of all that happens.

    Raises Misconfigured, CredentialsRejected, Unreachable with one line.
    """
    retries = RetryShare(settings.concurrency)
    opened = open_worker(settings, env, sleep, retries, tell=tell, name=name)
    flows = Flows(
        reconcile=opened.reconcile,
        renew=opened.renew,
        publish=opened.publish,
        poll=opened.poll,
        revoke=opened.revoke,
        collect=opened.collect,
        clock=now,
        retries=retries,
        outages=outages,
        tell=tell,
    )
    return Wired(flows=flows, opened=opened)
