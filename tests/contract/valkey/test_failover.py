"""A planned failover: the server that we are connected to goes on, as a replica of the one that has taken its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import dramatiq
import pytest

from knit.app.queue import open_queue
from knit.errors import Unreachable
from knit.outages import Outages
from knit.queue import messages
from knit.valkey.connect import connect
from rig.proxy import FaultProxy
from rig.valkey import Valkey
from tests.fix_rig import running


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers behind one address."""

    proxy: FaultProxy
    primary: Valkey
    replica: Valkey

    @property
    def url(self) -> str:
        """The address that leads to whichever is the primary."""
        return f"redis://127.0.0.1:{self.proxy.port}/0"

    def fail_over(self) -> None:
        """The two change places; the address follows, and open connections do not."""
        self.primary.change_places_with(self.replica)
        self.proxy.lead_to(self.replica.port)


@pytest.fixture
def pair() -> Iterator[Pair]:
    for primary in running(Valkey):
        for replica in running(lambda primary=primary: Valkey(replica_of=primary)):  # type: ignore[misc]
            with closing(FaultProxy(primary.port)) as proxy:
                yield Pair(proxy, primary, replica)


def test_the_next_write_finds_the_new_primary(pair: Pair) -> None:
    with closing(connect(pair.url, name="knit-test")) as link:
        with link.talking() as client:
            client.set("before", "1")
        pair.fail_over()
        with pytest.raises(Unreachable, match="READONLY"), link.talking() as client:
            client.set("after", "1")
        with link.talking() as client:
            client.set("after", "1")
    with closing(pair.replica.client()) as there:
        assert there.get("after") == "1"


def test_a_transaction_and_a_script_find_it_too(pair: Pair) -> None:
    with closing(connect(pair.url, name="knit-test")) as link:
        script = link.client.register_script("return redis.call('set', KEYS[1], '1')")
        with link.talking():
            script(keys=["before"])
        pair.fail_over()
        with pytest.raises(Unreachable, match="READONLY"), link.talking() as client, client.pipeline() as together:
            together.set("after", "1")
            together.execute()
        with link.talking():
            script(keys=["after"])
    with closing(pair.replica.client()) as there:
        assert there.get("after") == "1"


def test_the_queue_is_written_and_read_at_the_new_primary(pair: Pair) -> None:
    with closing(open_queue(pair.url, Outages())) as queue:
        queue.broker.declare_queue("control")
        consumer = queue.broker.consume("control")
        assert next(consumer) is None
        queue.send(messages.reconcile())
        pair.fail_over()
        with pytest.raises(dramatiq.errors.ConnectionClosed):
            for _ in range(20):
                next(consumer)
        queue.send(messages.reconcile())
        again = queue.broker.consume("control")
        found = [message for message in (next(again) for _ in range(50)) if message is not None]
        assert found
