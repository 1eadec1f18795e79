"""Keys and bundles on their way from an attempt to its publication.

They wait in the certificate Valkey because private keys exist nowhere else in the centre, and they never expire by
themselves: the journal in Postgres says when they are no longer wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from redis.exceptions import ResponseError

from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import Bundle
from knit.errors import CredentialsRejected, Refused
from knit.ports.staging import Staging
from knit.valkey.connect import Link
from knit.valkey.layout import Layout

CHUNK = 1000
"""Names in one command that forgets."""


class ValkeyStaging(Staging):
    """`Staging` on the certificate Valkey's primary: one hash per attempt of this installation.

    What a knit that knew no installations has staged is found under its old name; whoever takes it compares it with
    what the journal says of it.
    """

    def __init__(self, link: Link, layout: Layout, installation: str) -> None:
        self._link = link
        self._layout = layout
        self._installation = installation

    def put(self, attempt: AttemptId, bundle: Bundle) -> None:
        """Keep the bundle; a second put replaces the first."""
        fields = [b"privkey", bundle.privkey, b"fullchain", bundle.fullchain]
        with self._link.talking() as client:
            client.hset(self._name(attempt), items=fields)

    def get(self, attempt: AttemptId) -> Bundle | None:
        """What was put, or None when it is gone."""
        fields = self._read(self._name(attempt)) or self._read(self._layout.old_staging(attempt))
        if not fields:
            return None
        if b"privkey" not in fields:
            raise Refused(f"the staged bundle of attempt {attempt} has no key")
        return Bundle(fullchain=fields.get(b"fullchain", b""), privkey=fields[b"privkey"])

    def bundles(self, attempts: Sequence[AttemptId]) -> dict[AttemptId, Bundle]:
        """See the port. What is there but is no bundle of ours comes back as one that fits nothing."""
        found = self._all(attempts, self._name)
        if missing := [attempt for attempt in attempts if attempt not in found]:
            found |= self._all(missing, self._layout.old_staging)
        return found

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        """Forget them."""
        names = [name for each in attempts for name in (self._name(each), self._layout.old_staging(each))]
        for start in range(0, len(names), CHUNK):
            with self._link.talking() as client:
                client.unlink(*names[start : start + CHUNK])

    def _name(self, attempt: int) -> str:
        return self._layout.staging(attempt, self._installation)

    def _read(self, name: str) -> dict[bytes, bytes]:
        with self._link.talking() as client:
            return cast("dict[bytes, bytes]", client.hgetall(name))

    def _all(self, attempts: Sequence[AttemptId], name: Callable[[int], str]) -> dict[AttemptId, Bundle]:
        with self._link.talking() as client:
            trip = client.pipeline(transaction=False)
            for attempt in attempts:
                trip.hgetall(name(attempt))
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
