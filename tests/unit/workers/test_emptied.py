from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest

from knit.outages import Outages
from knit.queue import memory, messages
from knit.queue.base import declared
from workers.emptied import Emptied
from workers.later import Later

LONG = 0.05


@pytest.mark.parametrize("first", [messages.CONTROL, messages.RENEW])
@pytest.mark.parametrize("hops", [1, 2, 5])
def test_a_queue_is_empty_once_what_its_messages_brought_is_done_however_often_they_go_to_and_fro(
    hops: int, first: str
) -> None:
    queue = declared(memory.connect())
    later = Later(queue, Outages())
    emptied = Emptied(queue, later)
    queue.broker.add_middleware(emptied)
    done: list[int] = []
    actors: dict[str, dramatiq.Actor[Any, Any]] = {}
    there_and_back = {messages.CONTROL: messages.RENEW, messages.RENEW: messages.CONTROL}

    def on(name: str) -> Callable[[int], None]:
        def hop(left: int) -> None:
            time.sleep(LONG)
            if left > 1:
                later.send(actors[there_and_back[name]].message(left - 1))
            done.append(left)

        return hop

    for name in there_and_back:
        actors[name] = dramatiq.actor(broker=queue.broker, queue_name=name, actor_name=f"hop_{name}")(on(name))
    workers = [dramatiq.Worker(queue.broker, queues={name}, worker_threads=1, worker_timeout=20) for name in actors]
    for worker in workers:
        worker.start()
    try:
        later.send(actors[first].message(hops))
        emptied.wait()
        assert done == list(range(hops, 0, -1))
    finally:
        for worker in workers:
            worker.stop()
        queue.close()
