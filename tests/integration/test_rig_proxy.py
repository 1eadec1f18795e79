"""The fault proxy breaks what it is told to break and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rig.proxy import FaultProxy
from rig.valkey import Valkey


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[FaultProxy]:
    with closing(FaultProxy(valkey.port)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    with closing(redis.Redis(port=proxy.port, socket_timeout=1, retry=Retry(NoBackoff(), 0))) as client:
        yield client


def test_a_sound_proxy_passes_everything_on(client: redis.Redis, valkey_url: str) -> None:
    value = b"x" * 300_000
    client.set("large", value)
    assert client.get("large") == value


def test_a_delay_is_added_to_each_answer(proxy: FaultProxy, client: redis.Redis) -> None:
    client.ping()
    proxy.faults.delay = 0.2
    began = time.monotonic()
    client.ping()
    assert time.monotonic() - began >= 0.2


def test_a_cut_answer_leaves_the_request_done(
    proxy: FaultProxy, client: redis.Redis, valkey: Valkey, valkey_url: str
) -> None:
    client.ping()
    proxy.faults.cut_after = 0
    with pytest.raises(redis.ConnectionError):
        client.incr("count")
    with closing(valkey.client()) as direct:
        assert direct.get("count") == "1"


def test_a_silent_connection_neither_answers_nor_closes(proxy: FaultProxy, client: redis.Redis) -> None:
    client.ping()
    proxy.faults.silent = True
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.heal()


def test_dropped_and_refused_clients_get_a_connection_error_until_healed(
    proxy: FaultProxy, client: redis.Redis
) -> None:
    client.ping()
    proxy.faults.refuse = True
    proxy.drop()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.heal()
    assert client.ping() is True
