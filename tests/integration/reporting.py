"""Nodes and a centre as far as reports go: nodes write real ones to a real Valkey, PostgreSQL has a published list."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from knit.core.events import Kind
from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed, Failure, Step
from knit.core.served import Standing
from knit.flows.collect import Collect
from knit.node.report import Reporter
from knit.store.database import Database
from knit.store.events.events import EventLog
from knit.store.served.book import ServedBook
from knit.valkey.layout import Layout
from knit.valkey.reporting import ReportWriter
from knit.valkey.site import Site

INTERVAL = timedelta(minutes=10)
LAYOUT = Layout()


def now() -> datetime:
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def served(number: int = 1, generation: int = 1, **given: Any) -> Deployed:
    """A certificate that its node serves."""
    at = now()
    times = dict.fromkeys(("published_at", "written_at", "reloaded_at", "served_at"), at)
    facts: dict[str, Any] = {"place": "nginx", "name": f"host{number}.example.org", "cert_id": CertId(number)}
    evidence = {"serial": f"{generation:x}", "fingerprint": os.urandom(32).hex(), "served_on": "127.0.0.1:443"}
    return Deployed(
        **{**facts, **evidence, **times, "not_after": at + timedelta(days=90), "key": f"certs:{number}"}
        | {"generation": generation, "probed": True, **given}
    )


def failed(generation: int, *, next_try: datetime | None = None, rolled_back: bool = True) -> Failure:
    words = {"error": "nginx -t: unknown directive", "output": "line 3"}
    return Failure(
        step=Step.CHECK, at=now(), next_try=next_try, rolled_back=rolled_back, generation=generation, **words
    )


@dataclass
class Node:
    """One node, as far as its reports go."""

    reporter: Reporter = field(init=False)
    has: dict[str, Deployed] = field(default_factory=dict)
    changes: int = 0

    def version(self) -> object:
        return self.changes

    def marks(self) -> Iterator[tuple[str, int]]:
        for key, one in self.has.items():
            yield key, hash(one)

    def deployed(self, keys: Iterable[str]) -> Iterable[Deployed]:
        return [self.has[key] for key in keys]

    def says(self, *certificates: Deployed) -> None:
        self.has.update({one.key: one for one in certificates})
        self.changes += 1
        self.reporter.send_if_due()

    def loses(self, key: str) -> None:
        del self.has[key]
        self.changes += 1
        self.reporter.send_if_due()


@dataclass(frozen=True)
class Centre:
    """The centre, as far as reports go. The list has certificates that were published as generation 1."""

    database: Database
    collect: Collect
    url: str

    @property
    def book(self) -> ServedBook:
        return ServedBook(self.database)

    def publish(self, number: int, generation: int = 1) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "insert into knit_certs (id, domains, provider, valkey_key, cert_path, key_path, names_key, names) "
                "select n, d, 'exec', 'certs:' || n, '/' || n || '.crt', '/' || n || '.key', d, array[d] "
                "from (values (%s::bigint)) v (n), lateral (select 'host' || n || '.example.org' as d) names "
                "on conflict do nothing",
                [number],
            )
            connection.execute(
                "insert into knit_issued (cert_id, names_key, issuer, directory, key_type, serial, ari_id, not_before, "
                "not_after, issued_at, sha256, generation, valkey_key, cert_path, key_path, published_at) "
                "select id, names_key, 'acme', 'https://ca.example', 'ec256', to_hex(%s::bigint), 'a.b', now(), "
                "now() + interval '90 days', now(), repeat('0', 64), %s, valkey_key, cert_path, key_path, now() "
                "from knit_certs where id = %s "
                "on conflict (cert_id) do update set generation = excluded.generation, serial = excluded.serial, "
                "published_at = now()",
                [generation, generation, number],
            )

    def age(self, node: str, by: timedelta) -> None:
        self.database.write(
            "update knit_nodes set last_report = last_report - %(by)s where name = %(node)s", {"node": node, "by": by}
        )

    def standings(self, number: int) -> dict[str, Standing]:
        return {one.node: one.standing for one in self.book.on_nodes(CertId(number))}

    def told(self) -> list[tuple[str, int | None]]:
        kinds = {*Kind} - {Kind.CERTIFICATE_ADDED, Kind.VALUE_ADOPTED, Kind.CERTIFICATE_CHANGED, Kind.VALUE_MOVED}
        return [(event.kind, event.cert_id) for event in EventLog(self.database).since(0) if event.kind in kinds]


def node_of(url: str, name: str, interval: timedelta = INTERVAL) -> Node:
    """A node that reports to this Valkey; whoever asks closes its reporter."""
    one = Node()
    writer = ReportWriter(Site.of(url, name="knit-test"), LAYOUT, name)
    one.reporter = Reporter(writer, name=name, version="1.2", interval=interval, facts=one)
    return one


Nodes = Callable[..., Node]
