"""How many messages four passes send about the same certificates, while no worker takes any."""

from __future__ import annotations

import time
from contextlib import ExitStack

import psycopg

from bench.figures import Figure
from bench.many import listed
from knit.app.queue import open_queue
from knit.outages import Outages
from knit.queue import messages
from knit.settings.central import Worker
from knit.settings.environment import Environment
from rig.postgres import Postgres
from rig.valkey import Valkey
from workers.actors import Actors
from workers.later import Later
from workers.wiring import wire

DUE = 20_000
PASSES = 4


def measure() -> list[Figure]:
    """Rows that were never issued, and a queue whose length is asked at the end."""
    with ExitStack() as opened:
        postgres, certificates, waiting = Postgres(), Valkey(), Valkey()
        for server in (postgres, certificates, waiting):
            opened.callback(server.close)
            server.start()
        url = postgres.create_database("bench")
        settings = {"KNIT_DB_URL": url, "KNIT_VALKEY_URL": certificates.url, "KNIT_QUEUE_URL": waiting.url}
        env, outages = Environment(settings), Outages()
        wired = wire(Worker.read(env, queue_required=True), env, time.sleep, outages)
        opened.callback(wired.opened.close)
        queue = open_queue(waiting.url)
        opened.callback(queue.close)
        with psycopg.connect(url, autocommit=True) as connection:
            listed(connection, DUE)
        actors = Actors(queue=queue, flows=wired.flows, handed_over=lambda _: None, later=Later(queue, outages))
        for _ in range(PASSES):
            actors.reconcile()
        sent = queue.waiting(messages.RENEW)
    what = f"messages after {PASSES} passes that find the same {DUE:,} due / certificates due"
    return [Figure(what=what, ours=f"{sent:,}", baseline=f"{DUE:,}", number=sent / DUE, goal=1)]
