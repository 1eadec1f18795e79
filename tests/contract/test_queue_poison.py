"""Whatever lies on a queue: what is no message of ours is gone at once with one line, and holds up no other."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import dramatiq
import pytest
import redis

from knit.app.queue import open_queue
from knit.core.model.certificate import CertId
from knit.queue import messages
from tests.contract.test_queue import Working

HUGE = 50_000_000
Put = Callable[[bytes, str], None]


def like_ours(**other: object) -> bytes:
    """A message with something else in it; `options.redis_message_id` is added by whoever puts it on the queue."""
    fields = {
        "queue_name": messages.RENEW,
        "actor_name": "renew",
        "args": [7],
        "kwargs": {},
        "options": {},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": 1,
        **other,
    }
    return json.dumps(fields).encode()


POISON = {
    "no JSON": b"{",
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "a list": b"[]",
    "nothing": b"",
    "deep": b"[" * 3000,
    "a stranger's": b'{"task": "tasks.add", "id": 1}',
    "an unknown actor": like_ours(actor_name="rm -rf"),
    "no number": like_ours(args=["seven"]),
    "a forged id": like_ours(args=[2**70]),
    "a negative id": like_ours(args=[-1]),
    "too many arguments": like_ours(args=[1, 2, 3]),
    "no arguments": like_ours(args=[]),
    "keywords": like_ours(kwargs={"cert_id": 7}),
    "an odd time": like_ours(options={"eta": "soon"}),
    "something besides": like_ours(more=1),
    "50 MB": like_ours(args=["x" * HUGE]),
}


@pytest.fixture
def on_valkey(queue_url: str) -> Iterator[tuple[str, Put]]:
    with redis.Redis.from_url(queue_url) as client:

        def put(body: bytes, name: str) -> None:
            number = str(uuid.uuid4())
            body = body.replace(b'"options": {', f'"options": {{"redis_message_id": "{number}", '.encode(), 1)
            body = body.replace(b", }", b"}", 1)
            client.hset(f"dramatiq:{name}.msgs", number, body)
            client.rpush(f"dramatiq:{name}", number)

        yield queue_url, put
        left = {key: client.type(key) for key in client.scan_iter("dramatiq:*") if b"msgs" in key or b"XQ" in key}
        assert left == {}, "nothing of it is left on the server"


@pytest.fixture
def on_rabbitmq(amqp_url: str) -> Iterator[tuple[str, Put]]:
    import pika

    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()

        def put(body: bytes, name: str) -> None:
            channel.basic_publish("", name, body)

        yield amqp_url, put
        counts = [
            channel.queue_declare(f"{messages.RENEW}{end}", passive=True).method.message_count for end in ("", ".XQ")
        ]
        assert counts == [0, 0], "nothing of it is left on the server"


@pytest.mark.parametrize("server", ["on_valkey", "on_rabbitmq"])
def test_poison_is_dropped_at_once_with_one_line_and_strands_nobody(
    request: pytest.FixtureRequest, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    url, put = request.getfixturevalue(server)
    queue = open_queue(url)
    queue.send(messages.renew(CertId(1)))
    poison = {name: body for name, body in POISON.items() if server == "on_valkey" or len(body) < HUGE}
    for number, body in enumerate(poison.values(), start=2):
        put(body, messages.RENEW)
        queue.send(messages.renew(CertId(number)))
    queue.close()
    caplog.set_level(logging.INFO, logger="knit")
    with closing(Working(url)) as working:
        heard = working.wait(len(poison) + 1, seconds=2.5)
    assert sorted(heard) == [("renew", number) for number in range(1, len(poison) + 2)]
    lines = [record for record in caplog.records if record.name.startswith("knit")]
    assert [record.message for record in lines] == ["message dropped"] * len(poison)
    assert sum(len(str(vars(record))) for record in lines) < 50_000


def test_what_is_too_large_never_leaves_the_server(on_valkey: tuple[str, Put]) -> None:
    url, put = on_valkey
    queue = open_queue(url)
    put(POISON["50 MB"], messages.RENEW)
    consumer = queue.broker.consume(messages.RENEW, prefetch=1)
    with redis.Redis.from_url(url) as client:
        before = client.info("stats")["total_net_output_bytes"]
        assert [next(consumer), next(consumer)] == [None, None]
        assert client.info("stats")["total_net_output_bytes"] - before < HUGE / 100
    queue.close()


def test_a_message_kept_under_another_number_than_its_own_is_dropped_and_leaves_nothing(
    on_valkey: tuple[str, Put], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = on_valkey
    queue = open_queue(url)
    with redis.Redis.from_url(url) as client:
        body = like_ours(options={"redis_message_id": "another"})
        client.hset(f"dramatiq:{messages.RENEW}.msgs", "its own", body)
        client.rpush(f"dramatiq:{messages.RENEW}", "its own")
    consumer = queue.broker.consume(messages.RENEW, prefetch=1)
    assert [next(consumer), next(consumer)] == [None, None]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("knit")] == ["message dropped"]
    queue.close()


def test_our_own_messages_fit_many_times_over() -> None:
    largest: list[dramatiq.Message[Any]] = [
        messages.reconcile(10**6),
        messages.renew(CertId(2**63 - 1), tries=10**6),
        messages.publish(CertId(2**63 - 1), tries=10**6),
    ]
    assert max(len(message.encode()) for message in largest) < 500
