"""What a solver promises, kept through lego: its Cloudflare provider against the same strict fake as our own.

That provider is one of those that remember a record's id, and it finds the zone by asking the DNS.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from knit.app.locks import KeyedLocks
from knit.core.model.certificate import CertId
from knit.core.model.challenge import Challenge, ChallengeId, Leftover, Record
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.prover import sweep
from knit.errors import CredentialsRejected, Misconfigured
from knit.ports.solving import HoldsOneValue, PerSet, ReplacesWhole, Solver
from knit.providers.base import Runtime, Values
from knit.providers.lego import provider as lego_provider
from knit.providers.lego.solver import Lego
from knit.providers.lego.table import table
from rig.dns_api.cloudflare import FakeCloudflare
from rig.dns_world import World
from rig.lego import lego
from rig.ports import free_port
from rig.process import MissingError

FQDN = "_acme-challenge.www.example.org"


def record(token: str) -> Record:
    key_authorization = f"{token}.thumb"
    value = base64.urlsafe_b64encode(hashlib.sha256(key_authorization.encode()).digest()).rstrip(b"=").decode()
    challenge = Challenge(identifier="www.example.org", value=value, token=token, key_authorization=key_authorization)
    return Record(challenge=challenge, fqdn=FQDN, zone="example.org")


ONE, TWO = record("one"), record("two")


@pytest.fixture
def api() -> Iterator[FakeCloudflare]:
    api = FakeCloudflare()
    with api.serving():
        for zone in ("aaa.example", "example.org"):
            api.add_zone(zone)
        yield api
    assert api.complaints == [], "lego sent what the documentation does not allow"


@pytest.fixture
def world() -> Iterator[World]:
    with World(free_port()).running() as world:
        world.zone("example.org")
        yield world


def solver(api: FakeCloudflare, world: World, token: str = FakeCloudflare.dns_token) -> Lego:
    try:
        interpreter = lego().interpreter
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep, resolvers=(f"127.0.0.1:{world.port}",))
    given = {
        "CLOUDFLARE_DNS_API_TOKEN": token,
        "CLOUDFLARE_ZONE_API_TOKEN": FakeCloudflare.zone_token if token == FakeCloudflare.dns_token else token,
        "CLOUDFLARE_BASE_URL": api.url,
    }
    entry, values = table()["cloudflare"], Values(given)
    account = replace(lego_provider.setup(entry, values), interpreter=interpreter, deadline=20)
    return lego_provider.solver(entry, account, values, runtime)


def test_keeps_two_values_at_one_name_and_removing_one_keeps_the_other(api: FakeCloudflare, world: World) -> None:
    api.seed("example.org", FQDN, "foreign")
    with solver(api, world).session() as session:
        first, second = session.present(ONE), session.present(TWO)
        assert sorted(api.values(FQDN)) == sorted([ONE.value, TWO.value, "foreign"])
        session.cleanup(ONE, first)
        assert sorted(api.values(FQDN)) == sorted([TWO.value, "foreign"])
        session.cleanup(TWO, second)
    assert api.values(FQDN) == ["foreign"]


def test_lego_asks_the_resolvers_that_the_user_has_named(api: FakeCloudflare, world: World) -> None:
    with solver(api, world).session() as session:
        session.present(ONE)
    assert any(question.endswith("example.org SOA") for question in world.resolver.questions)


def test_a_wrong_token_is_a_rejected_credential_and_does_not_show(api: FakeCloudflare, world: World) -> None:
    with pytest.raises(CredentialsRejected) as caught:
        solver(api, world, "wrong-token-canary").present(ONE)
    assert "canary" not in str(caught.value)


def test_what_a_killed_worker_left_is_told_with_the_value_and_the_place(api: FakeCloudflare, world: World) -> None:
    through_lego = solver(api, world)
    through_lego.present(ONE)
    leftover = Leftover(id=ChallengeId(1), cert_id=CertId(1), provider="cloudflare", record=ONE, state=None)

    class Solvers:
        def solver(self, provider: str) -> Solver:
            return through_lego

        def code(self, provider: str) -> str:
            return provider

    removed: list[ChallengeId] = []
    (problem,) = sweep([leftover], Solvers(), removed.append, KeyedLocks())
    assert f"remove the TXT value {ONE.value} at {FQDN} by hand" in problem
    assert removed == []


def test_a_record_that_a_person_has_removed_is_swept_once_the_dns_does_not_show_it(
    api: FakeCloudflare, world: World
) -> None:
    through_lego = solver(api, world)
    leftover = Leftover(id=ChallengeId(1), cert_id=CertId(1), provider="cloudflare", record=ONE, state=None)
    zone = world.truth["example.org"]
    zone.add(FQDN, "TXT", f'"{ONE.value}"')

    class Solvers:
        def solver(self, provider: str) -> Solver:
            return through_lego

        def code(self, provider: str) -> str:
            return provider

    looking = Looking(resolvers=(f"127.0.0.1:{world.port}",), timeout=0.5, authority_port=world.port)
    gone = DnsDelegation(looking, time.sleep).is_gone
    removed: list[ChallengeId] = []
    assert len(sweep([leftover], Solvers(), removed.append, KeyedLocks(), gone)) == 1
    assert removed == []
    zone.records.pop((FQDN, "TXT"))
    assert sweep([leftover], Solvers(), removed.append, KeyedLocks(), gone) == []
    assert removed == [leftover.id]


def test_one_writer_at_a_time_per_zone_or_of_all_zones_where_lego_goes_one_by_one() -> None:
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)

    def build(code: str) -> Lego:
        entry = table()[code]
        given = {name: "x" for wanted in entry.required[:1] for names in wanted for name in names[:1]}
        return lego_provider.solver(entry, lego_provider.setup(entry, Values(given)), Values(given), runtime)

    assert isinstance(build("abion"), PerSet)
    assert isinstance(build("abion"), ReplacesWhole)
    assert build("abion").replaces(ONE) == "example.org"
    assert build("variomedia").replaces(ONE) == "every zone"
    assert not isinstance(build("variomedia"), HoldsOneValue)
    single = build("mittwald")
    assert isinstance(single, HoldsOneValue)
    assert single.slot(ONE) == FQDN


def test_a_missing_credential_is_named_before_anything_is_started() -> None:
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
    with pytest.raises(Misconfigured, match="ABION_API_KEY__WEST"):
        lego_provider.described(table()["abion"]).solver(Values({}, "west"), runtime)
