"""The queue's vocabulary: queue and actor names, and one builder per message.

A message is a hint that carries ids and nothing else; the truth is in Postgres. Losing one costs an interval at
most, and delivering it three times changes nothing.
"""

from __future__ import annotations

from typing import Any

import dramatiq

from knit.core.agenda import Errand
from knit.core.model.certificate import CertId

Message = dramatiq.Message[Any]

CONTROL = "control"
"""Short work that must never wait behind slow CAs: reconcile, publish, and the collection of reports."""

RENEW = "renew"
"""Renewals, questions about them, and revocations: they mostly wait, for the CA and for the DNS."""

QUEUES = (CONTROL, RENEW)


def reconcile(tries: int = 0) -> Message:
    """Look for what is due and fan out. `tries`: how often that met an outage."""
    return _message(CONTROL, "reconcile", *_counted(tries))


def renew(cert_id: CertId, *, tries: int = 0) -> Message:
    """Look at this certificate, and renew it if it is due."""
    return _message(RENEW, "renew", int(cert_id), *_counted(tries))


def poll(tries: int = 0) -> Message:
    """Ask CAs when they would have certificates renewed, those whose turn it is."""
    return _message(RENEW, "poll", *_counted(tries))


def revoke(tries: int = 0) -> Message:
    """Go on with the revocations that have something to do."""
    return _message(RENEW, "revoke", *_counted(tries))


def collect(tries: int = 0) -> Message:
    """Record what nodes have reported, as far as it has changed."""
    return _message(CONTROL, "collect", *_counted(tries))


def errand(errand: Errand) -> Message:
    """What a scheduler sends."""
    return {Errand.POLL: poll, Errand.REVOKE: revoke, Errand.COLLECT: collect}[errand]()


def publish(cert_id: CertId | None = None, *, tries: int = 0) -> Message:
    """Publish what waits, this certificate's bundle among it; for None also refresh and prune."""
    return _message(CONTROL, "publish", None if cert_id is None else int(cert_id), tries)


def _counted(tries: int) -> tuple[int, ...]:
    """Left out of a first message: workers of an older knit do not know it."""
    return (tries,) if tries else ()


def _message(queue: str, actor: str, *args: object) -> Message:
    return dramatiq.Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options={})
