"""Keys and bundles on their way from an attempt to its publication.

They wait in the certificate Valkey because private keys exist nowhere else in the centre, and they never expire by
themselves: the journal in Postgres says when they are no longer wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

from redis.exceptions import ResponseError

from knit.core.model import AttemptId, Bundle
from knit.errors import CredentialsRejected, Refused
from knit.ports import Staging
from knit.valkey.connect import Link
from knit.valkey.layout import Layout

PAGE = 1000
"""Keys the server looks at in one step of a scan: well under a millisecond."""


class ValkeyStaging(Staging):
    """`Staging` on the certificate Valkey's primary: one hash per attempt."""

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._layout = layout

    def put(self, attempt: AttemptId, bundle: Bundle) -> None:
        """Keep the bundle; a second put replaces the first."""
        fields = [b"privkey", bundle.privkey, b"fullchain", bundle.fullchain]
        with self._link.talking() as client:
            client.hset(self._layout.staging(attempt), items=fields)

    def get(self, attempt: AttemptId) -> Bundle | None:
        """What was put, or None when it is gone."""
        with self._link.talking() as client:
            fields = cast("dict[bytes, bytes]", client.hgetall(self._layout.staging(attempt)))
        if not fields:
            return None
        if b"privkey" not in fields:
            raise Refused(f"the staged bundle of attempt {attempt} has no key")
        return Bundle(fullchain=fields.get(b"fullchain", b""), privkey=fields[b"privkey"])

    def bundles(self, attempts: Sequence[AttemptId]) -> dict[AttemptId, Bundle]:
        """See the port. What is there but is no bundle of ours comes back as one that fits nothing."""
        with self._link.talking() as client:
            trip = client.pipeline(transaction=False)
            for attempt in attempts:
                trip.hgetall(self._layout.staging(attempt))
            answers = cast("list[dict[bytes, bytes] | ResponseError]", trip.execute(raise_on_error=False))
        found = zip(attempts, map(self._fields, answers), strict=True)
        return {
            attempt: Bundle(fullchain=fields[b"fullchain"], privkey=fields.get(b"privkey", b""))
            for attempt, fields in found
            if fields.get(b"fullchain")
        }

    def _fields(self, answer: dict[bytes, bytes] | ResponseError) -> dict[bytes, bytes]:
        if not isinstance(answer, ResponseError):
            return answer
        failure = self._link.failure(answer)
        if isinstance(failure, CredentialsRejected) or not isinstance(failure, Refused):
            raise failure
        return {b"fullchain": b"not a hash"}

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        """Forget them."""
        keys = [self._layout.staging(attempt) for attempt in attempts]
        if keys:
            with self._link.talking() as client:
                client.unlink(*keys)

    def waiting(self) -> Sequence[AttemptId]:
        """See the port. What is not called by a number there is not ours."""
        prefix = self._layout.staging_prefix.encode()
        with self._link.talking() as client:
            names = [name.removeprefix(prefix) for name in client.scan_iter(_literally(prefix) + b"*", count=PAGE)]
        return [AttemptId(int(name)) for name in names if name.isdigit()]


def _literally(text: bytes) -> bytes:
    """The text as a pattern that matches nothing else."""
    return re.sub(rb"([\\*?\[\]^])", rb"\\\1", text)
