"""What a server in Python is given: one context that answers every client with the certificate for its name."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self

from knit.core.sni import Choice, normalised
from knit.errors import KnitError
from knit.tls.contexts import Contexts, SetUp
from knit.tls.folder import Folder
from knit.tls.pairs import Pair
from knit.tls.published import Published

log = logging.getLogger(__name__)

FOLDER_INTERVAL = 5.0
VALKEY_INTERVAL = 60.0

NAMED = 10
"""Complaints that are logged one by one; of more it is told how many."""


class Source(Protocol):
    """Where pairs come from: as `look` found them, and why others were not taken, both by where they are."""

    pairs: dict[str, Pair]
    complaints: dict[str, str]

    def look(self) -> bool:
        """Look at what has changed; whether anything has. Raises KnitError when there is no answer."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until it is time for another look."""

    def close(self) -> None:
        """Give up what is held open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A certificate that is served. `origin`: the file of its chain, or its key in Valkey; `serial` in hexadecimal."""

    origin: str
    names: tuple[str, ...]
    serial: str
    not_after: datetime
    expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is served, in the order in which names are given out, and what is wrong, by where it is.

    `looked_at`: the last look that got an answer.
    """

    certificates: tuple[Record, ...]
    complaints: Mapping[str, str]
    looked_at: datetime | None


class Certificates:
    """Certificates from a folder, or from Valkey by its URL, kept up to date by a thread of its own.

    `default`: a name whose certificate answers clients that ask for no name, or for one that no certificate has;
    without it the first certificate does: in the order of their paths or keys, those without an issuer's last.
    `interval`: seconds between two looks; None: 5 for a folder, 60 for Valkey, whose hints bring one at once.
    `set_up` is called with each context before it is used: protocols, ciphers, ALPN, certificates of clients.

    Raises Misconfigured for a folder that cannot be read or a bad URL, Unreachable and Refused for a Valkey that does
    not answer or refuses. Without any certificate handshakes fail until there is one.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        default: str | None = None,
        interval: float | None = None,
        index_key: str = "knit:index",
        set_up: SetUp | None = None,
    ) -> None:
        self._default = default
        self._contexts = Contexts(set_up)
        where = os.fspath(source)
        self._source: Source
        if "://" in where:
            self._source, usual = Published(where, index_key, self._contexts.check), VALKEY_INTERVAL
        else:
            self._source, usual = Folder(where, self._contexts.check), FOLDER_INTERVAL
        self._interval = usual if interval is None else interval
        self._choice: Choice[Pair] = Choice(())
        self._pairs: tuple[Pair, ...] = ()
        self._complaints: dict[str, str] = {}
        self._looked_at: datetime | None = None
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self.context = self._contexts.empty()
        """For `ssl=` of asyncio, `wrap_socket` and the like."""
        self.context.sni_callback = self._answer
        try:
            self._look()
        except KnitError:
            self._source.close()
            raise
        self._thread = threading.Thread(target=self._keep_looking, name="knit-tls", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Look no more; the context goes on with what it has."""
        self._stop.set()
        self._thread.join()
        self._source.close()

    def refresh(self) -> None:
        """Look now. Raises KnitError when there is no answer; what was served still is."""
        self._look()

    def record_for(self, name: str | None) -> Record | None:
        """What a client that asks for this name is answered with."""
        pair = self._choice.of(name)
        return None if pair is None else _record(pair)

    def status(self) -> Status:
        """What is served, and what is wrong."""
        return Status(
            certificates=tuple(_record(pair) for pair in self._pairs),
            complaints=dict(self._complaints),
            looked_at=self._looked_at,
        )

    def _answer(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        pair = self._choice.of(name)
        if pair is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        try:
            connection.context = self._contexts.of(pair)
        except KnitError as error:
            log.error("certificate cannot be served", extra={"origin": pair.origin, "cause": str(error)})  # noqa: TRY400
            return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
        return None

    def _keep_looking(self) -> None:
        while not self._stop.is_set():
            self._source.wait(self._interval, self._stop)
            if self._stop.is_set():
                break
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 -- whatever has gone wrong, the next look may find more
                cause = str(error) if isinstance(error, KnitError) else f"unexpected: {type(error).__name__}"
                self._tell({**self._complaints, "source": cause})

    def _look(self) -> None:
        with self._looking:
            if self._source.look() or "source" in self._complaints:
                self._swap()
            self._looked_at = datetime.now(UTC)

    def _swap(self) -> None:
        pairs = tuple(sorted(self._source.pairs.values(), key=lambda pair: (pair.certificates == 1, pair.origin)))
        choice = Choice(((pair.names, pair) for pair in pairs), self._default)
        fresh = len(set(map(id, pairs)) - set(map(id, self._pairs)))
        # One assignment: a handshake sees the old choice or the new one.
        self._choice, self._pairs = choice, pairs
        self._contexts.keep(iter(pairs))
        if fresh:
            log.info("certificates taken", extra={"new": fresh, "all": len(pairs)})
        self._tell({**self._contested(choice), **self._source.complaints, **self._no_default(choice)})

    def _contested(self, choice: Choice[Pair]) -> dict[str, str]:
        return {pair.origin: f"{name} is answered by another certificate" for name, pair in choice.contested}

    def _no_default(self, choice: Choice[Pair]) -> dict[str, str]:
        if self._default is None or choice.has(self._default):
            return {}
        return {normalised(self._default): "no certificate has the name of the default: the first answers instead"}

    def _tell(self, complaints: dict[str, str]) -> None:
        fresh = [origin for origin, cause in complaints.items() if self._complaints.get(origin) != cause]
        for origin in fresh[:NAMED]:
            log.warning("certificate complaint", extra={"origin": origin, "cause": complaints[origin]})
        if len(fresh) > NAMED:
            log.warning("more certificate complaints", extra={"count": len(fresh) - NAMED})
        self._complaints = complaints


def _record(pair: Pair) -> Record:
    return Record(
        origin=pair.origin,
        names=pair.names,
        serial=f"{pair.serial:x}",
        not_after=pair.not_after,
        expired=pair.not_after <= datetime.now(UTC),
    )
