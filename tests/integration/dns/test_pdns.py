"""The solver for PowerDNS against a real one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from knit.app.locks import KeyedLocks
from knit.core.model.challenge import Record
from knit.dns.prover import writing
from knit.errors import CredentialsRejected, Refused, Unreachable
from knit.ports.solving import ReplacesWhole, Solver
from knit.providers import pdns
from knit.providers.base import Runtime, Values
from rig.ports import free_port
from rig.powerdns import PowerDns
from tests.contract.providers.test_dns01 import in_turn
from tests.fix_rig import running
from tests.integration.dns.conftest import challenge, record

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)


@pytest.fixture(scope="module")
def server() -> Iterator[PowerDns]:
    yield from running(lambda: PowerDns("knit.example", "deep.knit.example"))


def solver(server: PowerDns, **changed: str) -> Solver:
    given = {"PDNS_API_URL": f"{server.url}/", "PDNS_API_KEY": server.key, **changed}
    return pdns.PROVIDER.solver(Values(given), RUNTIME)


def test_two_values_at_one_name_live_side_by_side_and_go_one_by_one(server: PowerDns) -> None:
    one, two = record("one"), record("two")
    texts = solver(server)
    texts.present(one)
    texts.present(two)
    texts.present(two)
    assert server.txt(one.fqdn) == ["one", "two"]
    texts.cleanup(one, None)
    assert server.txt(one.fqdn) == ["two"]
    texts.cleanup(one, None)
    texts.cleanup(two, None)
    assert server.txt(one.fqdn) == []


def test_a_value_with_quotes_and_backslashes_is_kept_as_it_is(server: PowerDns) -> None:
    odd = record('a"b\\c d')
    solver(server).present(odd)
    assert server.txt(odd.fqdn) == ['a"b\\c d']
    solver(server).cleanup(odd, None)
    assert server.txt(odd.fqdn) == []


def test_a_long_foreign_value_in_several_strings_and_its_ttl_survive(server: PowerDns) -> None:
    ours = record("ours", "mail")
    content = f'"{"k" * 250}" "{"p" * 100}"'
    entry = {"name": f"{ours.fqdn}.", "type": "TXT", "ttl": 77, "changetype": "REPLACE"}
    body = {"rrsets": [{**entry, "records": [{"content": content, "disabled": False}]}]}
    server.api("PATCH", "/zones/knit.example.", body)
    texts = solver(server)
    texts.present(ours)
    assert server.txt(ours.fqdn) == ["k" * 250 + "p" * 100, "ours"]
    texts.cleanup(ours, None)
    assert server.txt(ours.fqdn) == ["k" * 250 + "p" * 100]
    zone = server.api("GET", "/zones/knit.example.")
    assert [each["ttl"] for each in zone["rrsets"] if each["name"] == entry["name"]] == [77]


def test_foreign_values_go_back_as_the_server_shows_them(server: PowerDns) -> None:
    ours = record("ours", "foreign")
    written = [r'"caf\195\169"', f'"{"k" * 250}" "{"p" * 100}"', r'"say \"hi\""']
    records = [{"content": content, "disabled": False} for content in written]
    entry = {"name": f"{ours.fqdn}.", "type": "TXT", "ttl": 77, "changetype": "REPLACE", "records": records}
    server.api("PATCH", "/zones/knit.example.", {"rrsets": [entry]})

    def shown() -> list[str]:
        sets = server.api("GET", "/zones/knit.example.")["rrsets"]
        return sorted(row["content"] for each in sets if each["name"] == entry["name"] for row in each["records"])

    before = shown()
    texts = solver(server)
    texts.present(ours)
    assert shown() == sorted([*before, '"ours"'])
    texts.cleanup(ours, None)
    assert shown() == before


def test_a_zone_below_is_found_where_the_dns_shows_another_cut(server: PowerDns) -> None:
    wrong_cut = Record(
        challenge=challenge("a.deep.knit.example", "v"),
        fqdn="_acme-challenge.a.deep.knit.example",
        zone="a.deep.knit.example",
    )
    solver(server).present(wrong_cut)
    names = [each["name"] for each in server.api("GET", "/zones/deep.knit.example.")["rrsets"]]
    assert f"{wrong_cut.fqdn}." in names
    solver(server).cleanup(wrong_cut, None)


def test_eight_writers_with_the_lock_lose_no_value(server: PowerDns) -> None:
    texts, locks = solver(server), KeyedLocks()
    assert isinstance(texts, ReplacesWhole)
    records = [record(f"value-{number}", "busy") for number in range(8)]

    def locked(number: int) -> None:
        with writing("pdns", texts, records[number], locks):
            texts.present(records[number])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(in_turn(locked), range(8)))
    assert server.txt(records[0].fqdn) == sorted(one.value for one in records)


def test_a_wrong_key_is_a_rejected_credential(server: PowerDns) -> None:
    with pytest.raises(CredentialsRejected, match="api-key"):
        solver(server, PDNS_API_KEY="wrong").present(record("x"))


def test_a_zone_that_it_does_not_hold_is_refused_by_name(server: PowerDns) -> None:
    with pytest.raises(Refused, match=r"elsewhere\.example"):
        solver(server).present(record("x", zone="elsewhere.example"))


def test_a_server_name_that_it_does_not_have_holds_no_zone(server: PowerDns) -> None:
    with pytest.raises(Refused, match=r"knit\.example"):
        solver(server, PDNS_SERVER_NAME="other").present(record("x"))


def test_a_server_that_is_not_there_is_unreachable(server: PowerDns) -> None:
    with pytest.raises(Unreachable, match="no connection"):
        solver(server, PDNS_API_URL=f"http://127.0.0.1:{free_port()}").present(record("x"))
