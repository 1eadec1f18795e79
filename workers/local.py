"""The same actors in this process, on a queue in memory or on the configured one: `knit renew`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import dramatiq

from knit import messages
from knit.core.model import CertId, Failed, Outcome
from knit.errors import KnitError
from knit.flows.publish import Report
from knit.flows.reconcile import PassPlan
from knit.flows.tick import Ticker
from knit.messages import Queue
from knit.settings.central import Scheduling, Worker
from knit.settings.environment import Environment
from workers.actors import Flows, declare
from workers.stopping import Stopping
from workers.wiring import wire

CONTROL_THREADS = 4
IDLE = 100
STOP = 10_000


@dataclass(slots=True)
class Heard:
    """What the actors of one pass reported."""

    plans: list[PassPlan] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    errors: list[KnitError] = field(default_factory=list)

    def listening(self, flows: Flows) -> Flows:
        """The same flows, reporting here; no hints for later are sent."""
        return replace(
            flows,
            deep=True,
            follow_up=False,
            on_pass=self.plans.append,
            on_outcome=self.outcomes.append,
            on_publish=self.reports.append,
            on_error=self.errors.append,
        )

    @property
    def failed(self) -> int:
        """Certificates that failed in the pass, and other things a person must look at."""
        unadoptable = sum(plan.unadoptable for plan in self.plans)
        refused = sum(report.failed + (report.refused is not None) for report in self.reports)
        return unadoptable + refused + len(self.errors) + sum(isinstance(o, Failed) for o in self.outcomes)


def once(settings: Worker, env: Environment) -> int:
    """One whole pass; gives how many certificates failed. Raises KnitError when it could not be begun."""
    heard = Heard()
    with _working(settings, env, messages.in_memory(), heard) as queue:
        queue.send(messages.reconcile())
        _drain(queue)
    return heard.failed


def one(settings: Worker, env: Environment, cert_id: CertId) -> Outcome | None:
    """Renew one certificate and publish it; None when a bug stopped the actor."""
    heard = Heard()
    with _working(settings, env, messages.in_memory(), heard) as queue:
        queue.send(messages.renew(cert_id))
        _drain(queue)
    if heard.errors:
        raise heard.errors[0]
    return heard.outcomes[0] if heard.outcomes else None
