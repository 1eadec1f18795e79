"""Certificates that many passes find due while no worker takes their messages."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from knit.app.queue import open_queue
from knit.outages import Outages
from knit.queue import messages
from knit.queue.base import Queue
from knit.settings.central import Worker
from knit.settings.environment import Environment
from workers.actors import Actors
from workers.later import Later
from workers.wiring import wire

DUE = 200
LISTED = (
    "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
    "select 'n' || i || '.example', 'exec', 'k' || i, '/' || i || '.crt', '/' || i || '.key' "
    "from generate_series(1, %s) i"
)


@pytest.fixture
def queue(queue_url: str) -> Iterator[Queue]:
    found = open_queue(queue_url)
    yield found
    found.close()


@pytest.fixture
def actors(database_url: str, valkey_url: str, queue_url: str, queue: Queue) -> Iterator[Actors]:
    """Those of one process, over a list that nothing was ever issued for."""
    settings = {"KNIT_DB_URL": database_url, "KNIT_VALKEY_URL": valkey_url, "KNIT_QUEUE_URL": queue_url}
    env, outages = Environment(settings), Outages()
    wired = wire(Worker.read(env, queue_required=True), env, time.sleep, outages)
    with psycopg.connect(database_url) as connection:
        connection.execute(LISTED, [DUE])
    yield Actors(queue=queue, flows=wired.flows, handed_over=lambda _: None, later=Later(queue, outages))
    wired.opened.close()


def test_four_passes_that_find_the_same_certificates_due_send_one_message_for_each(
    actors: Actors, queue: Queue
) -> None:
    for _ in range(4):
        actors.reconcile()
    assert queue.waiting(messages.RENEW) == DUE


def test_messages_that_the_queue_has_lost_are_sent_again(actors: Actors, queue: Queue) -> None:
    actors.reconcile()
    queue.broker.flush(messages.RENEW)
    assert queue.waiting(messages.RENEW) == 0
    actors.reconcile()
    assert queue.waiting(messages.RENEW) == DUE


def test_what_a_killed_worker_owed_is_sent_again_though_other_messages_wait(actors: Actors, queue: Queue) -> None:
    actors.reconcile()
    queue.broker.flush(messages.RENEW)
    queue.send(messages.poll())
    actors.reconcile()
    assert queue.waiting(messages.RENEW) == DUE + 1


def test_what_became_due_meanwhile_is_asked_for_beside_what_waits(
    actors: Actors, queue: Queue, database_url: str
) -> None:
    actors.reconcile()
    with psycopg.connect(database_url) as connection:
        connection.execute("update knit_certs set requested_at = now() where id <= 3")
        connection.execute(
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
            "values ('new.example.org', 'exec', 'new', '/new.crt', '/new.key')"
        )
    actors.reconcile()
    assert queue.waiting(messages.RENEW) == DUE + 4
