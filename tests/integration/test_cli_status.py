"""knit status and knit nodes, as a person and as a program read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from knit.app.collecting import collecting
from knit.store.database import Database
from rig.valkey import Valkey
from tests.acceptance.knit import Done, knit
from tests.integration.reporting import INTERVAL, LAYOUT, Centre, Node, Nodes, failed, node_of, now, served

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def centre(migrated_url: str, valkey_url: str) -> Iterator[Centre]:
    with Database.open(migrated_url) as database:
        yield Centre(database, collecting(valkey_url, LAYOUT.index, database), migrated_url)


@pytest.fixture
def node(valkey_url: str) -> Iterator[Nodes]:
    with ExitStack() as opened:

        def made(name: str = "web1") -> Node:
            one = node_of(valkey_url, name)
            opened.callback(one.reporter.close)
            return one

        yield made


@pytest.fixture
def status(centre: Centre, valkey_url: str) -> Run:
    return Run({"KNIT_DB_URL": centre.url, "KNIT_VALKEY_URL": valkey_url})


class Run:
    """Commands of the centre."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings

    def __call__(self, *words: str, **more: str) -> Done:
        return knit(*words, **{**self._settings, **more})


def test_it_ends_with_0_when_every_node_that_takes_it_serves_it(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1)
    node("web1").says(served())
    node("web2").says(served(probed=False, served_at=None, served_on=None))
    done = status("status")
    assert (done.code, done.err) == (0, "")
    assert "1 of 1 certificates are served by every node that takes them" in done.out
    assert "2 of 2" in done.out
    one = status("status", "host1.example.org")
    assert one.code == 0
    assert "web1" in one.out
    assert "127.0.0.1:443" in one.out


def test_it_ends_with_1_and_says_who_does_not_and_why(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1, generation=2)
    centre.publish(2)
    node("web1").says(served(generation=2), served(2))
    node("web2").says(replace(served(), failure=failed(2)))
    node("web3").says(served(waits="window opens Sun 02:00"))
    node("web4").says(served(generation=2))
    status("nodes")
    centre.age("web4", 3 * INTERVAL)
    done = status("status")
    assert done.code == 1
    for line in (
        "web2: check failed: nginx -t: unknown directive, the files of before are back; no next try",
        "web3 lags: window opens Sun 02:00",
        "web4 is silent",
        "1 of 2 certificates are served",
    ):
        assert line in done.out, line
    record = status("status", "--json").records
    assert record["served"] is False
    assert [one["served"] for one in record["certificates"]] == [False, True]
    behind = {one["node"]: one["standing"] for one in record["certificates"][0]["behind"]}
    assert behind == {"web2": "rolled_back", "web3": "lagging", "web4": "silent"}
    assert status("status", "2").code == 0
    story = status("status", "1", "--json").records
    assert (story["nodes"], story["fine"], len(story["on_nodes"])) == (4, 1, 4)
    assert {(one["node"], one["generation"]) for one in story["history"]} >= {("web2", 1), ("web2", 2), ("web1", 2)}


def test_where_no_node_reports_nothing_is_served(centre: Centre, status: Run) -> None:
    assert status("status").code == 0, "there is nothing to serve"
    centre.publish(1)
    done = status("status")
    assert done.code == 1
    assert "no node reports: KNIT_REPORT_URL on the nodes says where to" in done.out
    assert status("nodes").out == "no node reports\n"


def test_the_nodes_are_shown_and_one_is_forgotten(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1)
    node("web1").says(served())
    (one,) = status("nodes", "--json").records
    assert (one["name"], one["version"], one["state"], one["fine"]) == ("web1", "1.2", "reporting", 1)
    assert one["report_interval"] == "10m"
    centre.age("web1", 3 * INTERVAL)
    assert "silent" in status("nodes").out
    assert status("nodes", "forget", "web1").out == "forgotten: web1\n"
    assert status("nodes", "forget", "web1").code == 1
    assert status("nodes").out == "no node reports\n"


def test_where_reports_cannot_be_read_the_record_is_shown_with_a_word(
    centre: Centre, node: Nodes, status: Run, own_valkey: Valkey
) -> None:
    centre.publish(1)
    node().says(served())
    centre.collect.run()
    for settings in ({"KNIT_VALKEY_URL": ""}, {"KNIT_REPORT_URL": "redis://127.0.0.1:1"}):
        done = status("status", **settings)
        assert done.code == 0
        assert done.err.startswith("knit: reports not read now, this is as last recorded: ")
    assert status("status", KNIT_REPORT_URL=own_valkey.url).code == 0


def test_reports_to_the_api_are_refused_with_a_sentence(status: Run) -> None:
    done = status("status", KNIT_REPORT_URL="https://knit.example")
    assert done.code == 2
    assert "reports to https:// need the API, which this version of knit does not have" in done.err


def test_waiting_ends_with_0_as_soon_as_all_is_served(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1, generation=2)
    web = node()
    web.says(served())
    later = threading.Timer(3, lambda: web.says(served(generation=2)))
    later.start()
    began = time.monotonic()
    done = status("status", "--wait", "--timeout", "60s")
    assert done.code == 0, done.err
    assert 2 < time.monotonic() - began < 30
    assert done.err.splitlines() == [
        "knit: host1.example.org: 1 of 1 nodes that take it do not serve it; web1 lags: it has generation 1",
        "knit: served",
    ]


def test_waiting_ends_with_1_at_once_where_it_is_in_vain(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1, generation=2)
    web = node()
    web.says(replace(served(), failure=failed(2, next_try=now() + timedelta(hours=1))))
    began = time.monotonic()
    done = status("status", "1", "--wait", "--timeout", "10m")
    assert (done.code, time.monotonic() - began < 30) == (1, True)
    assert "check failed: nginx -t: unknown directive" in done.err


def test_waiting_has_an_end(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1)
    assert status("status", "--wait", "--timeout", "2s").code == 1
    assert status("status", "--wait", "--timeout", "soon").code == 2


def test_what_a_nodes_user_may_do_is_printed(status: Run) -> None:
    done = status("nodes", "acl", "web1")
    assert done.out.startswith("user report-web1 on #SHA256-OF-ITS-PASSWORD resetkeys ~knit:index:report:web1 ")
    assert status("nodes", "acl", "web 1").code == 2


def test_show_tells_how_many_nodes_serve_it(centre: Centre, node: Nodes, status: Run) -> None:
    centre.publish(1)
    node().says(served())
    status("nodes")
    assert "served by  1 of 1 nodes" in status("show", "1").out
    record = status("show", "1", "--json").records
    assert (record["nodes"], record["served_by"]) == (1, 1)
