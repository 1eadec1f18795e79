"""The published side of the certificate Valkey: values, index and change feed, and whose they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from redis.commands.core import Script

from knit.errors import CredentialsRejected, Refused
from knit.ports.publication import NewValue, Publication, Stored, Survey
from knit.valkey import scripts
from knit.valkey.connect import Link
from knit.valkey.layout import Layout
from knit.valkey.rights import forbidden_key

log = logging.getLogger(__name__)

CHUNK = 500
"""Keys per round trip: some 2 MB of values, a few milliseconds of the server."""


class ValkeyPublication(Publication):
    """`Publication` on the certificate Valkey's primary, for one installation."""

    def __init__(self, link: Link, layout: Layout, installation: str) -> None:
        self._link = link
        self._layout = layout
        self._installation = installation
        self._feed = [layout.index, layout.revision, layout.revisions, layout.installation]
        self._publish = link.client.register_script(scripts.PUBLISH)
        self._exchange = link.client.register_script(scripts.EXCHANGE)
        self._prune = link.client.register_script(scripts.PRUNE)
        self._look = link.client.register_script(scripts.LOOK)
        self._survey = link.client.register_script(scripts.SURVEY)
        self._claim = link.client.register_script(scripts.CLAIM)
        self._rehearse = link.client.register_script(scripts.REHEARSE)

    @property
    def place(self) -> str:
        """Where this Valkey is."""
        return self._link.place

    def installation(self) -> str | None:
        """See the port."""
        with self._link.talking() as client:
            found = cast("bytes | None", client.get(self._layout.installation))
        return None if found is None else found.decode(errors="replace")

    def claim(self, found: str | None) -> bool:
        """See the port."""
        return bool(self._run(self._claim, [self._layout.installation], [found or "", self._installation]))

    def rehearse(self, key: str) -> None:
        """See the port. A channel that is closed to us only makes nodes wait for their next poll."""
        self._check_name(key)
        keys = [*self._feed, self._layout.probe, key, self._layout.staging(0, self._installation)]
        answer = cast("list[bytes]", self._run(self._rehearse, keys, [self._layout.channel, self._installation]))
        lacking = [command.decode() for command in answer]
        if "PUBLISH" in lacking:
            lacking.remove("PUBLISH")
            log.warning("no hints to nodes", extra={"lacking": "PUBLISH", "channel": self._layout.channel})
        if lacking:
            commands = ", ".join(dict.fromkeys(lacking))
            message = (
                f"Valkey at {self._link.where} does not let our user run {commands} on what publishing {key} needs"
            )
            raise CredentialsRejected(message)

    def live(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The raw values at these keys; absent ones are left out, and so are keys that hold no string."""
        found: dict[str, bytes] = {}
        for chunk in _chunks(keys):
            with self._link.talking() as client:
                values = cast("list[bytes | None]", client.mget(chunk))
            found.update((key, value) for key, value in zip(chunk, values, strict=True) if value is not None)
        return found

    def look(self, keys: Sequence[str]) -> dict[str, Stored]:
        """See the port."""
        found: dict[str, Stored] = {}
        for chunk in _chunks(keys):
            answer = cast("list[bytes]", self._run(self._look, chunk, []))
            pairs = zip(chunk, answer[::2], answer[1::2], strict=True)
            found.update((key, Stored(token=token.decode(), raw=raw)) for key, token, raw in pairs)
        return found

    def publish(self, values: Sequence[NewValue]) -> Sequence[str | None]:
        """See the port. Raises Refused for a key that knit itself needs."""
        return [_found(answer) for answer in self._write(self._publish, values)]

    def exchange(self, values: Sequence[NewValue]) -> bool:
        """See the port. Raises Refused for a key that knit itself needs."""
        return bool(self._write(self._exchange, values))

    def _write(self, script: Script, values: Sequence[NewValue]) -> Sequence[bytes]:
        for key, _, _ in values:
            self._check_name(key)
        keys = [*self._feed, *(key for key, _, _ in values)]
        pairs = [part for _, value, expected in values for part in (value, expected)]
        answers = self._run(script, keys, [self._layout.channel, self._installation, *pairs])
        return cast("list[bytes]", answers)

    def survey(self) -> Survey:
        """See the port; worked out on the server."""
        reply = self._run(self._survey, [self._layout.index, self._layout.revision], [])
        count, members, lost, missing, revision = cast("tuple[int, bytes, int, bytes, bytes | None]", reply)
        number = int(revision) if revision is not None and revision.isdigit() else 0
        return Survey(members=_names(count, members), missing=_names(lost, missing), revision=number)

    def prune(self, tokens: Mapping[str, str]) -> frozenset[str]:
        """See the port. A name that knit itself needs only leaves the index."""
        gone: set[str] = set()
        for chunk in _chunks(list(tokens)):
            wanted = ["name" if self._layout.reserved(key) else tokens[key] for key in chunk]
            answers = self._run(self._prune, [*self._feed, *chunk], [self._layout.channel, self._installation, *wanted])
            gone.update(key for key, done in zip(chunk, cast("list[int]", answers), strict=True) if done)
        return frozenset(gone)

    def _check_name(self, key: str) -> None:
        if self._layout.reserved(key):
            allowed = f"choose one that does not begin with {self._layout.index!r}"
            raise Refused(f"valkey_key {key!r} is reserved: {allowed}")

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes]) -> object:
        try:
            with self._link.talking():
                return script(keys=keys, args=arguments)
        except CredentialsRejected as error:
            key = forbidden_key(self._link, keys)
            if key is None:
                raise
            raise CredentialsRejected(f"{error}: the key {key} is outside of what our user may use") from None


def _found(answer: bytes) -> str | None:
    return None if answer == b"+" else answer[1:].decode()


def _names(count: int, joined: bytes) -> frozenset[str]:
    # An empty text is no name, or one empty name.
    return frozenset(joined.decode(errors="surrogateescape").split("\0")) if count else frozenset()


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
