"""Nodes write their reports to a real Valkey, and what they say is recorded in a real PostgreSQL."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from knit.app.collecting import collecting
from knit.core import report
from knit.core.model.certificate import CertId
from knit.core.served import Standing
from knit.flows.collect import Collected
from knit.store.database import Database
from knit.store.events.events import EventLog
from knit.valkey.connect import Link
from knit.valkey.layout import Layout
from tests.integration.reporting import INTERVAL, LAYOUT, Centre, Node, Nodes, failed, node_of, now, served


@pytest.fixture
def centre(migrated_url: str, valkey_url: str) -> Iterator[Centre]:
    with Database.open(migrated_url) as database:
        yield Centre(database, collecting(valkey_url, LAYOUT.index, database), migrated_url)


@pytest.fixture
def node(valkey_url: str) -> Iterator[Nodes]:
    with ExitStack() as opened:

        def made(name: str = "web1", interval: timedelta = INTERVAL) -> Node:
            one = node_of(valkey_url, name, interval)
            opened.callback(one.reporter.close)
            return one

        yield made


def test_what_a_node_serves_is_known_with_its_times_and_evidence(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    one = served()
    node().says(one)
    assert centre.collect.run() == Collected(nodes=1, changed=1, certificates=1)
    (found,) = centre.book.on_nodes(CertId(1))
    assert (found.node, found.standing, found.here) == ("web1", Standing.SERVED, one)
    (spread,) = centre.book.spreads(most=10)
    assert (spread.nodes, spread.fine, spread.served, spread.lack) == (1, 1, True, None)
    assert spread.since == one.served_at
    (reached,) = centre.book.history(CertId(1))
    assert (reached.served_at, reached.fingerprint, reached.served_on) == (
        one.served_at,
        one.fingerprint,
        one.served_on,
    )
    assert centre.told() == [("node first seen", None), ("certificate served", 1)]


def test_where_nothing_has_changed_nothing_is_read_or_written(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    node().says(served())
    centre.collect.run()
    before = centre.database.rows("select xmin::text, * from knit_nodes")
    assert centre.collect.run() == Collected(nodes=1, changed=0, certificates=0)
    assert centre.database.rows("select xmin::text, * from knit_nodes") == before


def test_of_a_thousand_certificates_one_that_changes_costs_its_part(centre: Centre, node: Nodes) -> None:
    web = node()
    web.says(*(served(number) for number in range(1, 1001)))
    assert centre.collect.run().certificates == 1000
    web.says(served(7, generation=2))
    part = report.part_of("certs:7")
    assert centre.collect.run().certificates == sum(report.part_of(key) == part for key in web.has) < 20
    (row,) = centre.database.rows("select count(*) as n, max(generation) as newest from knit_served")
    assert row == {"n": 1000, "newest": 2}


def test_a_certificate_that_a_node_has_no_longer_is_forgotten_there(centre: Centre, node: Nodes) -> None:
    web = node()
    web.says(served(1), served(2))
    centre.collect.run()
    web.loses("certs:1")
    centre.collect.run()
    assert [row["key"] for row in centre.database.rows("select key from knit_served")] == ["certs:2"]


def test_a_node_that_has_not_heard_of_the_newest_one_lags(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    node("web1").says(served())
    node("web2").says(served())
    centre.publish(1, generation=2)
    node("web3").says(served(generation=2))
    centre.collect.run()
    assert centre.standings(1) == {"web1": Standing.LAGGING, "web2": Standing.LAGGING, "web3": Standing.SERVED}
    (spread,) = centre.book.spreads(most=10)
    assert spread.lack == "2 of 3 nodes that take it do not serve it"
    assert [one.node for one in spread.behind] == ["web1", "web2"]


def test_a_failure_is_told_once_for_each_generation_and_node(centre: Centre, node: Nodes) -> None:
    centre.publish(1, generation=2)
    web = node()
    for _ in range(3):
        web.says(replace(served(), failure=failed(2)))
        centre.collect.run()
    assert centre.standings(1) == {"web1": Standing.ROLLED_BACK}
    assert centre.told() == [("node first seen", None), ("deployment failed", 1)]
    assert [(one.generation, one.failed_step) for one in centre.book.history(CertId(1))] == [(2, "check"), (1, None)]


def test_a_node_names_no_certificate_but_by_its_key(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    centre.publish(2)
    node().says(served(1, cert_id=CertId(2), generation=9, failure=failed(9, rolled_back=False)))
    centre.collect.run()
    assert ("deployment failed", 1) in centre.told()
    assert centre.standings(2) == {}


def test_a_silent_node_is_never_fine_and_is_told_of_when_it_goes_and_comes_back(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    web = node()
    web.says(served())
    centre.collect.run()
    centre.age("web1", 3 * INTERVAL)
    assert centre.standings(1) == {"web1": Standing.SILENT}
    centre.collect.run()
    centre.collect.run()
    assert centre.told()[2:] == [("node silent", None)]
    (one,) = centre.book.nodes()
    assert (one.silent, one.certificates, one.fine) == (True, 1, 0)
    web.says(served())
    centre.collect.run()
    assert centre.standings(1) == {"web1": Standing.SERVED}
    assert centre.told()[3:] == [("node back", None)]


def test_a_certificate_is_told_to_be_served_once_all_nodes_do_and_once(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    one, two = node("web1"), node("web2")
    one.says(served())
    two.says(served())
    centre.collect.run()
    centre.publish(1, generation=2)
    one.says(served(generation=2))
    centre.collect.run()
    two.says(served(generation=2))
    centre.collect.run()
    two.says(served(generation=2))
    centre.collect.run()
    events = [event for event in EventLog(centre.database).since(0) if event.kind == "certificate served"]
    assert [event.detail for event in events] == [{"generation": 1, "nodes": 2}, {"generation": 2, "nodes": 2}]


def test_a_report_that_was_read_before_another_was_recorded_is_not_recorded_after_it(
    centre: Centre, node: Nodes, valkey_url: str
) -> None:
    """Two collectors: the slower one has read the older report."""
    centre.publish(1)
    web = node()
    web.says(served())
    slow = collecting(valkey_url, LAYOUT.index, centre.database)
    store: Any = slow._store
    record = store.record

    def later(*given: Any) -> bool:
        web.says(served(generation=2))
        assert centre.collect.run().changed == 1
        return bool(record(*given))

    store.record = later
    assert slow.run().changed == 0
    assert [row["generation"] for row in centre.database.rows("select generation from knit_served")] == [2]


def test_five_generations_of_history_stay(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    web = node()
    for generation in range(1, 9):
        web.says(served(generation=generation))
        centre.collect.run()
    assert [one.generation for one in centre.book.history(CertId(1))] == [8, 7, 6, 5, 4]


def test_a_forgotten_node_is_gone_with_all_it_said_until_it_reports_again(centre: Centre, node: Nodes) -> None:
    centre.publish(1)
    web = node()
    web.says(served())
    centre.collect.run()
    assert centre.book.forget("web1")
    assert not centre.book.forget("web1")
    centre.collect.run()
    assert centre.book.nodes() == [], "its last report is still there"
    (spread,) = centre.book.spreads(most=10)
    assert (spread.served, spread.lack) == (False, "no node reports it")
    web.says(served())
    centre.collect.run()
    assert [one.name for one in centre.book.nodes()] == ["web1"]


def test_a_report_that_a_vanished_node_has_left_behind_makes_no_node(centre: Centre, node: Nodes, link: Link) -> None:
    node("left", interval=timedelta(seconds=1)).says(served())
    with link.talking() as client:
        raw = client.hget(LAYOUT.report("left"), "head")
        assert isinstance(raw, bytes)
        client.persist(LAYOUT.report("left"))
        client.hset(LAYOUT.report("left"), "head", raw.replace(f'"at":"{now():%Y}'.encode(), b'"at":"2001'))
    centre.collect.run()
    assert [one.name for one in centre.book.nodes()] == []


HOSTILE: dict[str, Callable[[Any, str, str], object]] = {
    "string": lambda client, key, _: client.set(key, "x"),
    "list": lambda client, key, _: client.rpush(key, "x"),
    "no-head": lambda client, key, _: client.hset(key, "1", "x"),
    "large-head": lambda client, key, _: client.hset(key, "head", "x" * 20_000_000),
    "no-json": lambda client, key, _: client.hset(key, "head", "x"),
    "deep-json": lambda client, key, _: client.hset(key, "head", "[" * 16_000),
    "name-of-another": lambda client, key, _: client.hset(key, "head", head("web1")),
    "large-part": lambda client, key, name: hostile_part(client, key, name, os.urandom(1_000_000)),
    "bomb": lambda client, key, name: hostile_part(client, key, name, zlib.compress(b" " * 100_000_000)),
    "part-that-is-none": lambda client, key, name: hostile_part(client, key, name, b"x"),
    "other-digest": lambda client, key, name: hostile_part(client, key, name, b"x", digest="0" * 16),
    "missing-part": lambda client, key, name: client.hset(key, "head", head(name, {3: "0" * 16})),
}


def head(name: str, parts: dict[int, str] | None = None) -> bytes:
    return report.head_to_wire(report.Head(name=name, knit="x", at=now(), interval=INTERVAL, parts=parts or {}))


def hostile_part(client: Any, key: str, name: str, raw: bytes, digest: str | None = None) -> None:
    client.hset(key, mapping={"7": raw, "head": head(name, {7: digest or report.digest(raw)})})


def test_hostile_reports_harm_no_other_and_are_read_again_only_when_they_have_changed(
    centre: Centre, node: Nodes, link: Link
) -> None:
    centre.publish(1)
    node("web1").says(served())
    with link.talking() as client:
        for name, write in HOSTILE.items():
            write(client, LAYOUT.report(name), name)
    centre.collect.run()
    assert centre.standings(1) == {"web1": Standing.SERVED}
    refused = {one.name for one in centre.book.nodes() if one.refused is not None}
    assert refused == HOSTILE.keys() - {"no-head", "other-digest", "missing-part"}
    before = centre.database.rows("select xmin::text, * from knit_nodes order by name")
    assert centre.collect.run().changed == 0
    assert centre.database.rows("select xmin::text, * from knit_nodes order by name") == before
    assert centre.database.rows("select key from knit_served where node <> 'web1'") == []


def test_why_a_report_is_refused_is_kept_with_what_the_node_said_before(
    centre: Centre, node: Nodes, link: Link
) -> None:
    centre.publish(1)
    web = node()
    web.says(served())
    centre.collect.run()
    with link.talking() as client:
        client.hset(LAYOUT.report("web1"), "head", "x")
    centre.collect.run()
    (one,) = centre.book.nodes()
    assert (one.refused, one.fine) == ("its report is not JSON", 1)
    assert centre.told()[2:] == [("node report refused", None)]
    web.says(served())
    centre.collect.run()
    assert centre.book.nodes()[0].refused is None


def test_names_that_are_none_and_keys_of_other_installations_are_passed_over(
    centre: Centre, node: Nodes, link: Link
) -> None:
    with link.talking() as client:
        for key in ("knit:index:report:a b", "knit:index:report:", "other:index:report:web9", "knit:index:reports"):
            client.hset(key, "head", head("web9"))
    assert centre.collect.run() == Collected(nodes=0, changed=0, certificates=0)


def test_an_index_key_with_signs_of_patterns_is_taken_literally(migrated_url: str, valkey_url: str, link: Link) -> None:
    layout = Layout("knit[1]*")
    with link.talking() as client:
        client.hset(layout.report("web1"), "head", head("web1"))
        client.hset("knit1x:report:web2", "head", head("web2"))
    with Database.open(migrated_url) as database:
        assert collecting(valkey_url, layout.index, database).run().nodes == 1


def test_a_node_whose_report_the_server_has_lost_sends_all_of_it_again(centre: Centre, node: Nodes, link: Link) -> None:
    web = node()
    web.says(served(1), served(2))
    with link.talking() as client:
        client.flushall()
    web.says(served(1, generation=2))
    assert centre.collect.run().certificates == 2


def test_a_report_ends_after_three_intervals(node: Nodes, link: Link) -> None:
    node(interval=timedelta(seconds=100)).says(served())
    with link.talking() as client, closing(client):
        assert 295_000 < int(client.pttl(LAYOUT.report("web1"))) <= 300_000
