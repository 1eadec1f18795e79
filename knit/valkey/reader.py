"""The node's side of the certificate Valkey: it reads, and a replica will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from redis.client import PubSub
from redis.exceptions import RedisError

from knit.core.value import MAX_BYTES
from knit.errors import KnitError, Refused
from knit.valkey.connect import Link
from knit.valkey.layout import Layout

LONGEST_REVISION = 16
"""Digits of 2**53, up to which a sorted set's scores are exact."""


class ValkeyReader:
    """Values, index and change feed, each as the server has it now."""

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._layout = layout

    def revision(self) -> int | None:
        """The change feed's revision; None when no publisher writes one."""
        with self._link.talking() as client:
            text = cast("bytes | None", client.get(self._layout.revision))
        return int(text) if text is not None and text.isdigit() and len(text) <= LONGEST_REVISION else None

    def changed(self, since: int) -> set[str]:
        """Keys whose last change came after this revision."""
        with self._link.talking() as client:
            keys = cast("list[bytes]", client.zrangebyscore(self._layout.revisions, f"({since}", "+inf"))
        return {_text(key) for key in keys}

    def index(self) -> set[str]:
        """All index members."""
        with self._link.talking() as client:
            return {_text(key) for key in cast("set[bytes]", client.smembers(self._layout.index))}

    def values(self, keys: Sequence[str]) -> dict[str, bytes | KnitError]:
        """The raw values; absent ones are left out. An error stands for a key that holds no text.

        Of a value that is too large no more is read than shows that it is.
        """
        with self._link.talking() as client:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.getrange(key, 0, MAX_BYTES)
            replies = cast("list[bytes | RedisError]", pipeline.execute(raise_on_error=False))
        return {key: self._reading(reply) for key, reply in zip(keys, replies, strict=True) if reply != b""}

    def _reading(self, reply: bytes | RedisError) -> bytes | KnitError:
        if isinstance(reply, bytes):
            return reply
        failure = self._link.failure(reply)
        return Refused("its key holds something else than a text") if isinstance(failure, Refused) else failure


class Hints:
    """Push: says that something has changed, sooner than the next poll would. It may lose any hint.

    A connection of its own, which redis-py reopens by itself after a loss.
    """

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._channel = layout.channel
        self._subscription: PubSub | None = None

    def wait(self, seconds: float) -> bool:
        """Wait for a hint; False when none came. Raises as every call does, often before `seconds` are over.

        A new subscription counts as a hint: what was said before it went unheard.
        """
        with self._link.talking():
            heard = self._subscribed().get_message(timeout=seconds)
        return heard is not None

    def drain(self) -> None:
        """Forget the hints that are waiting: the pass that comes now answers them all."""
        if self._subscription is not None:
            with self._link.talking():
                while self._subscription.get_message(timeout=0) is not None:
                    pass

    def close(self) -> None:
        """Give the connection up; the next `wait` opens a new one."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _subscribed(self) -> PubSub:
        if self._subscription is None:
            subscription = PubSub(self._link.client.connection_pool)
            subscription.subscribe(self._channel)
            self._subscription = subscription
        return self._subscription


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
