"""Servers as they are: what other ACME clients cope with, and what nobody should have to."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from knit.errors import Transient, Unreachable
from knit.issuers.acme import AcmeIssuer, Site
from knit.issuers.acme.dial import reach
from knit.issuers.acme.polling import VALIDATION
from rig.scripted_ca import ScriptedCA
from rig.scripted_ca.http11 import FLOODS
from tests.clock import Clock
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, Worker, now

NAMES = ("knit.example", "*.knit.example")


def issue(ca: ScriptedCA) -> None:
    wanted = Wanted(names=NAMES)
    wanted.check(Worker(ca, Memory()).issue(wanted, Notes(), TrustingProver()))
    counted = ca.counts_of(*NAMES)
    assert (counted["orders"], counted["finalized"], counted["issued"]) == (1, 1, 1)


@pytest.mark.parametrize("http", ["1.0", "close", "ends"])
@pytest.mark.parametrize("polls", [0, 3])
def test_a_ca_that_ends_each_connection_issues(ca: ScriptedCA, http: str, polls: int) -> None:
    ca.script(http=http)
    ca.behave(processing_polls=polls, validation_delay_ms=20)
    began = time.monotonic()
    issue(ca)
    assert time.monotonic() - began < 10


def test_one_that_begins_to_end_them_between_two_certificates_costs_none(ca: ScriptedCA) -> None:
    worker = Worker(ca, Memory())
    for number, http in enumerate(("1.1", "ends", "1.0", "1.1", "close")):
        ca.script(http=http)
        wanted = Wanted(names=(f"a{number}.example",))
        wanted.check(worker.issuer.issue(wanted.request(), Notes(), TrustingProver()))
        assert ca.counts_of(*wanted.names)["finalized"] == 1
    worker.issuer.close()


def test_a_connection_that_was_left_alone_for_long_is_not_used_again(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = [], reach

    def counted(host: str, port: int, *rest: Any, **more: Any) -> socket.socket:
        opened.append(port)
        return real(host, port, *rest, **more)

    monkeypatch.setattr("knit.issuers.acme.transport.reach", counted)
    monkeypatch.setattr("knit.issuers.acme.transport.IDLE_SECONDS", 600)
    clock = Clock()
    monkeypatch.setattr("knit.issuers.acme.transport.time", clock)
    worker = Worker(ca, Memory())
    for number, expected in enumerate((1, 1, 2)):
        wanted = Wanted(names=(f"a{number}.example",))
        clock.sleep(601 if number == 2 else 0)
        wanted.check(worker.issuer.issue(wanted.request(), Notes(), TrustingProver()))
        assert len(opened) == expected
    worker.issuer.close()


def test_endpoints_may_be_at_another_host_that_the_directory_names(ca: ScriptedCA) -> None:
    ca.script(other_host="localhost")
    issue(ca)


def test_an_order_may_lead_to_a_host_that_the_settings_name_and_else_the_sentence_says_which(ca: ScriptedCA) -> None:
    other = ca.directory_url.replace("127.0.0.1", "localhost").split("/")[2]
    memory = Memory()
    for hosts in ((), (other,)):
        ca.script(other_host="")
        site = Site(name="acme", directory=ca.directory_url, ca_files=(str(ca.ca_file),), hosts=hosts)
        issuer, wanted = AcmeIssuer(site, memory, memory, now, time.sleep), Wanted(names=NAMES)
        wanted.check(issuer.issue(wanted.request(), Notes(), TrustingProver()))
        # What the directory said is remembered for a while: its orders now lead elsewhere.
        ca.script(other_host="localhost")
        if hosts:
            wanted.check(issuer.issue(wanted.request(), Notes(), TrustingProver()))
        else:
            with pytest.raises(Unreachable, match=f"if {other} is the CA's too, name it among the issuer's hosts"):
                issuer.issue(wanted.request(), Notes(), TrustingProver())
        issuer.close()


def test_an_authorization_may_keep_the_wildcard_in_its_name(ca: ScriptedCA) -> None:
    ca.behave(keeps_wildcard=True)
    issue(ca)


def test_what_is_not_needed_may_be_missing_null_or_strange(ca: ScriptedCA) -> None:
    ca.behave(sparse=True, processing_polls=2)
    ca.script(authz_reuse_percent=100)
    memory = Memory()
    for _ in range(2):
        wanted = Wanted(names=NAMES)
        wanted.check(Worker(ca, memory).issue(wanted, Notes(), TrustingProver()))


@pytest.mark.parametrize("named", ["", None])
def test_an_order_that_is_valid_before_it_names_its_certificate_is_asked_again(ca: ScriptedCA, named: object) -> None:
    ca.behave(processing_polls=2)
    document = json.dumps({"status": "valid", "certificate": named})
    ca.fault("order", act="answer", status=200, content_type="application/json", body=document)
    issue(ca)


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("kind", ["directory", "newOrder", "certificate"])
def test_an_answer_without_an_end_is_left_within_a_bound(ca: ScriptedCA, flood: str, kind: str) -> None:
    ca.fault(kind, act="flood", flood=flood, times=0)
    began, cpu = time.monotonic(), time.process_time()
    with pytest.raises(Transient, match=r"its reply|keeps answering"):
        issue(ca)
    assert time.process_time() - cpu < 5
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("of_one_family", [1, 4, 9])
def test_a_ca_is_reached_behind_any_number_of_addresses_of_a_family_that_leads_nowhere(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch, of_one_family: int
) -> None:
    asked = socket.getaddrinfo

    def many(host: str, port: int, *rest: Any, **about: Any) -> list[Any]:
        """What a resolver says on a machine that has IPv6 in name only: here nobody listens by it."""
        found: list[Any] = asked(host, port, *rest, **about)
        nowhere = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
        return [nowhere] * (of_one_family if host == "localhost" else 0) + found

    monkeypatch.setattr(socket, "getaddrinfo", many)
    ca.script(other_host="localhost")
    memory = Memory()
    site = Site(name="acme", directory=ca.directory_url.replace("127.0.0.1", "localhost"), ca_files=(str(ca.ca_file),))
    issuer, wanted = AcmeIssuer(site, memory, memory, now, time.sleep), Wanted(names=NAMES)
    wanted.check(issuer.issue(wanted.request(), Notes(), TrustingProver()))
    issuer.close()


def test_a_ca_that_wants_to_be_left_alone_for_a_day_may_have_validated_within_seconds(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knit.issuers.acme.authorizations.VALIDATION", replace(VALIDATION, total=3.0))
    ca.behave(retry_after="86400", validation_delay_ms=500)
    issue(ca)
