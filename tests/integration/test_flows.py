"""The renew and publish flows on real servers, killed before and after every single call they make."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from knit.app import clock
from knit.core import x509
from knit.core.events import Kind, Told
from knit.core.model.attempt import Failed, Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.errors import LeaseLost, Transient
from knit.outages import Outages
from knit.settings.central import Worker
from knit.settings.environment import Environment
from knit.store.leases.leases import Leases
from rig.bind import Bind
from rig.installation import Installation
from rig.looking import sql
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import ORIGINAL, ROW, Servers, txt_names
from workers.actors import Flows
from workers.wiring import wire

LIFETIME = 2.0
NUMBERS = itertools.count()

WANTED = """
insert into knit_certs (domains, provider, valkey_key, cert_path, key_path)
select name, 'dnsupdate', name, '/' || name || '.crt', '/' || name || '.key'
from unnest(%s::text[]) with ordinality as wanted (name, place) order by place
"""


class KilledError(BaseException):
    """This process is dead: no `except` of the product may stop it."""


@dataclass(slots=True)
class Life:
    """Counts the calls of a process, and ends it before or after the one it is told to. None: it lives on."""

    last: int | None = None
    after: bool = False
    calls: int = 0
    dead: bool = False
    said: str = ""

    def spend(self, name: str, call: Callable[[], Any]) -> Any:
        if self.dead:
            raise KilledError
        self.calls += 1
        fatal = self.calls == self.last
        if fatal and not self.after:
            self._die(name)
        try:
            return call()
        finally:
            if fatal:
                self._die(name)

    def _die(self, name: str) -> None:
        self.dead, self.said = True, name
        raise KilledError


@dataclass(slots=True)
class Recording(Life):
    """A process that lives on, and remembers its calls."""

    names: list[str] = dataclasses.field(default_factory=list)

    def spend(self, name: str, call: Callable[[], Any]) -> Any:
        self.names.append(name)
        return Life.spend(self, name, call)


class Mortal:
    """A port through which a process that has died does nothing more."""

    def __init__(self, port: object, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in {"journal", "issuer", "revoker"}:
            return lambda *args: Mortal(found(*args), self._life)
        if name == "hold":
            return partial(self._hold, found)
        if not callable(found):
            return found
        return lambda *args, **more: self._life.spend(name, lambda: found(*args, **more))

    @contextmanager
    def _hold(self, hold: Callable[[str], Any], name: str) -> Iterator[Any]:
        lease = hold(name)
        held = lease.__enter__()
        try:
            yield held
        finally:
            # A dead process gives nothing back: its lease runs out.
            if not self._life.dead:
                lease.__exit__(None, None, None)


@dataclass(frozen=True, slots=True)
class Stage:
    """Servers, and processes that come and go."""

    servers: Servers
    environment: Environment

    @contextmanager
    def process(self, life: Life) -> Iterator[Flows]:
        """A worker process as far as its flows go."""
        settings = Worker.read(self.environment, queue_required=False)
        wired = wire(settings, self.environment, time.sleep, Outages())
        assert isinstance(wired.opened.leases, Leases)
        wired.opened.leases._lifetime = LIFETIME
        wired.opened.leases._refresh_every = LIFETIME / 6
        flows = wired.flows
        ports = ("store", "staging", "publication")
        renew: dict[str, Any] = {name: Mortal(getattr(flows.renew, name), life) for name in (*ports, "issuers")}
        publish: dict[str, Any] = {name: Mortal(getattr(flows.publish, name), life) for name in (*ports, "leases")}
        revoking = ("store", "publication", "copies", "revokers", "leases")
        revoke: dict[str, Any] = {name: Mortal(getattr(flows.revoke, name), life) for name in revoking}
        publish["move"] = dataclasses.replace(
            flows.publish.move, store=publish["store"], publication=publish["publication"]
        )
        try:
            yield dataclasses.replace(
                flows,
                renew=dataclasses.replace(flows.renew, **renew),
                publish=dataclasses.replace(flows.publish, **publish),
                revoke=dataclasses.replace(flows.revoke, **revoke),
            )
        finally:
            wired.opened.close()

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        return sql(self.servers.database, statement, *parameters)

    def wanted(self, count: int) -> dict[CertId, str]:
        """New certificates on the list."""
        names = [f"x{next(NUMBERS)}.knit.example" for _ in range(count)]
        self.sql(ORIGINAL)
        self.sql(WANTED, names)
        with self.process(Life()) as flows:
            flows.reconcile.run()
        found = self.sql("select id, domains from knit_certs where domains = any(%s)", names)
        return {CertId(number): name for number, name in found}


@pytest.fixture
def stage(bind: Bind, migrated_url: str, valkey: Valkey, queue_valkey: Valkey) -> Iterator[Stage]:
    valkey.flush()
    with ScriptedCA(dns_server=bind.address, default={"validation": "dns"}) as ca:
        servers = Servers(ca=ca, dns=bind, database=migrated_url, valkey=valkey, queue=queue_valkey)
        yield Stage(servers, Environment({**servers.settings(), "KNIT_QUEUE_URL": ""}))


def whole_way(flows: Flows, cert_id: CertId) -> None:
    """What a worker is told to do by the messages of one pass."""
    flows.renew.run(cert_id)
    flows.publish.waiting()
    flows.publish.everything()


def calls_of_one_certificate(stage: Stage) -> int:
    """How many calls one certificate takes from its order to its publication, but for what is done once a day."""
    life = Life()
    for cert_id in stage.wanted(2):
        life = Life()
        with stage.process(life) as flows:
            whole_way(flows, cert_id)
    return life.calls


def dies(stage: Stage, cert_id: CertId, life: Life) -> str:
    """One process that lives no longer than this; gives the call it died at."""
    with stage.process(life) as flows, pytest.raises(KilledError):
        whole_way(flows, cert_id)
    return f"{'after' if life.after else 'before'} call {life.last}, {life.said}"


PARTS = 6


def part_of(calls: int, part: int) -> Iterator[Life]:
    """One of PARTS of all deaths, before and after every call: each part is a test, so that none takes long."""
    deaths = itertools.product(range(1, calls + 1), (False, True))
    return (Life(last=last, after=after) for last, after in itertools.islice(deaths, part, None, PARTS))


def finish(stage: Stage, cert_id: CertId, rounds: int = 1) -> None:
    """Another process does all that is left once one has died, before any other dies: nobody else may mend it."""
    # What it held is free later: nobody waits for that here.
    stage.sql("update knit_leases set expires_at = now() - interval '1 second'")
    # What is done once a day is done here, too, and so not by the next one that is killed.
    stage.sql("delete from knit_marks")
    with stage.process(Life()) as flows:
        for _ in range(rounds):
            stage.sql("update knit_attempts set retry_at = null where ended_at is null")
            stage.sql("update knit_schedule set retry_at = null, check_at = '-infinity' where cert_id = %s", cert_id)
            for one in flows.reconcile.run(deep=True).renew:
                flows.renew.run(one)
            assert flows.publish.everything().refused is None


def nothing_is_left(stage: Stage, name: str, death: str) -> None:
    """It is published, and nothing is under way any more."""
    with closing(stage.servers.valkey.client()) as client:
        assert client.sismember("knit:index", name), death
        assert list(client.scan_iter("knit:index:staging:*")) == [], death
    assert stage.sql("select * from knit_attempts where ended_at is null") == [], death
    assert txt_names(stage.servers.dns) == [], death


@pytest.mark.parametrize("part", range(PARTS))
def test_a_process_killed_at_any_call_leaves_what_the_next_one_finishes_with_one_finalized_order(
    stage: Stage, part: int
) -> None:
    total = calls_of_one_certificate(stage)
    assert total >= 20
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    for life in part_of(total, part):
        ((cert_id, name),) = stage.wanted(1).items()
        death = dies(stage, cert_id, life)
        finish(stage, cert_id)
        counted = ca.counts()["names"][name]
        assert counted["finalized"] == 1, death
        assert counted["orders"] == 1 or "ordered" in death, "only an order whose URL was not kept is made anew"
        nothing_is_left(stage, name, death)


def spoil_what_is_staged(stage: Stage, **fields: bytes) -> None:
    with closing(stage.servers.valkey.client()) as client:
        (key,) = client.scan_iter("knit:index:staging:*")
        if fields:
            for field, value in fields.items():
                client.hset(key, field, value)
        else:
            client.delete(key)


AS_AN_OLDER_KNIT = "update knit_attempts set serial = null, sha256 = null where cert_id = %s"
"""It handed bundles over without a word about them."""


def put_off(stage: Stage, cert_id: CertId) -> float:
    """Seconds to the next look at the attempt, which is then not waited for."""
    ((seconds,),) = stage.sql(
        "select extract(epoch from retry_at - now())::float8 from knit_attempts "
        "where cert_id = %s and ended_at is null",
        cert_id,
    )
    stage.sql("update knit_attempts set retry_at = null where cert_id = %s", cert_id)
    return float(seconds)


@pytest.mark.parametrize(
    ("before", "spoilt", "sentence", "orders"),
    [
        ("select %s", {"fullchain": b"no chain"}, "not what was handed over", 1),
        (AS_AN_OLDER_KNIT, {"fullchain": b"no chain"}, "the chain holds something besides certificates", 1),
        ("select %s", {"privkey": b"no key"}, "not what was handed over", 2),
        ("select %s", {}, "is gone", 2),
    ],
    ids=["its chain", "its chain, handed over by an older knit", "its key", "all of it"],
)
def test_a_bundle_that_is_spoilt_in_staging_is_got_again_and_costs_an_order_only_with_its_key(
    stage: Stage, before: str, spoilt: dict[str, bytes], sentence: str, orders: int
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        flows.renew.run(cert_id)
        stage.sql(before, cert_id)
        spoil_what_is_staged(stage, **spoilt)
        assert flows.publish.everything().failed == 1
        assert isinstance(flows.renew.run(cert_id), Skipped)
        ((error,),) = stage.sql("select last_error from knit_certs where id = %s", cert_id)
        assert sentence in error
        assert 40 < put_off(stage, cert_id) < 80
        assert isinstance(flows.renew.run(cert_id), Renewed)
        assert flows.publish.everything().published == (cert_id,)
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    counted = ca.counts()["names"][name]
    assert (counted["orders"], counted["finalized"]) == (orders, orders)


def test_a_staging_that_spoils_every_bundle_is_tried_ever_more_rarely_at_no_cost(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    waits = []
    with stage.process(Life()) as flows:
        for _ in range(5):
            assert isinstance(flows.renew.run(cert_id), Renewed)
            spoil_what_is_staged(stage, fullchain=b"no chain")
            assert flows.publish.everything().failed == 1
            waits.append(put_off(stage, cert_id))
    assert all(0.7 < wait / step < 1.3 for wait, step in zip(waits, (60, 600, 6000, 86400, 86400), strict=True))
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    assert ca.counts()["names"][name]["orders"] == 1


def declare_compromised(stage: Stage, cert_id: CertId) -> None:
    stage.sql(
        "insert into knit_compromised_keys (spki_sha256, cert_id) "
        "select spki_sha256, cert_id from knit_attempts where cert_id = %s",
        cert_id,
    )


def test_a_bundle_whose_key_is_declared_compromised_while_it_waits_is_not_published(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.renew.run(cert_id)
        declare_compromised(stage, cert_id)
        report = flows.publish.everything()
        assert (report.published, report.failed) == ((), 1)
        assert client.get(name) is None


def test_a_value_with_a_compromised_key_is_not_adopted(stage: Stage) -> None:
    ((cert_id, _),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        flows.renew.run(cert_id)
        flows.publish.everything()
        declare_compromised(stage, cert_id)
        # As after an older backup of the database: nothing is recorded of what is published.
        stage.sql("delete from knit_issued where cert_id = %s", cert_id)
        stage.sql("delete from knit_tombstones")
        stage.sql("update knit_schedule set check_at = '-infinity'")
        assert flows.reconcile.run().renew == (cert_id,)
    assert stage.sql("select * from knit_issued") == []


@pytest.mark.parametrize(
    "change", ["delete from knit_certs where id = %s", "update knit_certs set enabled = false where id = %s"]
)
@pytest.mark.parametrize("last", [8, 12, 16])
def test_what_is_under_way_for_a_certificate_that_is_wanted_no_more_is_ended_by_the_next_pass(
    stage: Stage, change: str, last: int
) -> None:
    ((cert_id, _),) = stage.wanted(1).items()
    dies(stage, cert_id, Life(last=last, after=True))
    stage.sql(change, cert_id)
    time.sleep(LIFETIME)
    with stage.process(Life()) as flows:
        assert cert_id in flows.reconcile.run().renew
        flows.renew.run(cert_id)
        assert cert_id not in flows.reconcile.run().renew
    assert stage.sql("select * from knit_attempts where ended_at is null") == []
    assert stage.sql("select * from knit_challenges where removed_at is null") == []
    assert txt_names(stage.servers.dns) == []
    with closing(stage.servers.valkey.client()) as client:
        assert list(client.scan_iter("knit:index:staging:*")) == []


def test_a_bundle_that_an_older_knit_handed_over_is_looked_at_and_published(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.renew.run(cert_id)
        stage.sql(AS_AN_OLDER_KNIT, cert_id)
        assert flows.publish.waiting().published == (cert_id,)
        assert "PRIVATE KEY" in str(client.get(name))
    ((serial,),) = stage.sql("select serial from knit_issued where cert_id = %s", cert_id)
    assert serial


def test_a_worker_that_starts_publishes_what_nobody_spoke_of(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Renewed)
    with Installation(settings=stage.servers.settings()) as knit, closing(stage.servers.valkey.client()) as client:
        knit.start("worker-control")
        wait_until(lambda: bool(client.exists(name)), "what waited is published", seconds=30)


def test_one_certificate_that_valkey_will_not_take_holds_up_no_other(stage: Stage) -> None:
    refused, other = stage.wanted(2)
    with stage.process(Life()) as flows:
        for cert_id in (refused, other):
            flows.renew.run(cert_id)
        stage.sql("update knit_certs set valkey_key = 'knit:index:mine' where id = %s", refused)
        report = flows.publish.everything()
    assert (report.published, report.failed) == ((other,), 1)
    ((error, step),) = stage.sql(
        "select last_error, step from knit_certs c join knit_attempts a on cert_id = c.id where c.id = %s", refused
    )
    assert "is reserved" in error
    assert step in {"issued", "publishing"}


def test_a_value_that_the_index_has_lost_is_indexed_again_without_an_order(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        whole_way(flows, cert_id)
        client.delete("knit:index", "knit:index:revisions")
        assert flows.publish.everything().refreshed == (cert_id,)
        assert client.smembers("knit:index") == {name}
        assert flows.publish.everything().refreshed == ()


def test_another_dns_provider_is_taken_up_by_an_attempt_that_has_not_proved_its_names(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    stage.sql("update knit_certs set provider = 'httpreq' where id = %s", cert_id)
    stage.sql("update knit_certs set seen = wanted where id = %s", cert_id)
    dead = {"HTTPREQ_ENDPOINT": "http://127.0.0.1:9", "HTTPREQ_PROPAGATION_TIMEOUT": "1"}
    away = dataclasses.replace(stage, environment=Environment({**stage.environment, **dead}))
    with away.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
    assert stage.sql("select provider from knit_attempts where ended_at is null") == [("httpreq",)]
    stage.sql("update knit_certs set provider = 'rfc2136' where id = %s", cert_id)
    with stage.process(Life()) as flows:
        flows.reconcile.run()
        assert isinstance(flows.renew.run(cert_id), Renewed)
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    assert ca.counts()["names"][name]["finalized"] == 1


def test_a_certificate_of_an_issuer_that_this_process_does_not_know_fails_alone(
    stage: Stage,
) -> None:
    cert_id, other = stage.wanted(2)
    with stage.process(Life()) as flows:
        flows.reconcile.run()
        stage.sql("update knit_certs set issuer = 'later' where id = %s", cert_id)
        stage.sql("update knit_certs set seen = wanted")
        assert {cert_id, other} <= set(flows.reconcile.run().renew)
        failed = flows.renew.run(cert_id)
        assert isinstance(failed, Failed)
        assert "issuer 'later' is not configured here" in failed.error
        assert failed.retry_at is not None
        assert isinstance(flows.renew.run(other), Renewed)
    assert stage.sql("select count(*) from knit_attempts where cert_id = %s", cert_id) == [(0,)]


@pytest.mark.parametrize("days", [-2, 400])
def test_a_worker_whose_clock_is_wrong_orders_nothing(stage: Stage, days: int) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        wrong = dataclasses.replace(flows.renew, clock=lambda: clock.now() + timedelta(days=days))
        with pytest.raises(Transient, match="clock of this host"):
            wrong.run(cert_id)
        ca = stage.servers.ca
        assert isinstance(ca, ScriptedCA)
        assert name not in ca.counts()["names"]
        assert isinstance(flows.renew.run(cert_id), Renewed)


@pytest.mark.parametrize("days", [-60, 60])
def test_a_pass_decides_by_the_clock_of_postgresql_whatever_that_of_its_host_says(
    stage: Stage, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring, fresh = stage.wanted(2)
    with stage.process(Life()) as flows:
        for cert_id in (expiring, fresh):
            assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    ages = "update knit_issued set not_before = now() - %s, not_after = now() + %s where cert_id = %s"
    stage.sql(ages, timedelta(days=89), timedelta(days=1), expiring)
    stage.sql(ages, timedelta(days=1), timedelta(days=89), fresh)
    stage.sql("update knit_schedule set check_at = '-infinity'")
    monkeypatch.setattr("knit.app.worker.now", lambda: clock.now() + timedelta(days=days))
    with stage.process(Life()) as flows:
        due = flows.reconcile.run().renew
        assert expiring in due
        assert fresh not in due
        with pytest.raises(Transient, match="clock of this host"):
            flows.renew.run(expiring)


def test_a_bundle_survives_a_damaged_value_of_a_later_generation_in_its_place(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.renew.run(cert_id)
        client.set(name, '{"knit": {"generation": 9000000000}}')
        assert flows.publish.waiting().published == (cert_id,)
        assert "PRIVATE KEY" in str(client.get(name))


class Interrupting:
    """A port at one of whose calls something else happens first."""

    def __init__(self, port: object, call: str, happens: Callable[[], object]) -> None:
        self._port = port
        self._call = call
        self._happens: Callable[[], object] | None = happens

    def __getattr__(self, name: str) -> Any:
        if name == self._call and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return getattr(self._port, name)


def interrupted(flows: Flows, call: str, happens: Callable[[], object]) -> Flows:
    """The publish flow pauses before this call to Valkey."""
    port: Any = Interrupting(flows.publish.publication, call, happens)
    prune = dataclasses.replace(flows.publish.prune, publication=port)
    move = dataclasses.replace(flows.publish.move, publication=port)
    return dataclasses.replace(
        flows, publish=dataclasses.replace(flows.publish, publication=port, prune=prune, move=move)
    )


def published(stage: Stage, name: str) -> dict[str, Any]:
    with closing(stage.servers.valkey.client()) as client:
        found: dict[str, Any] = json.loads(str(client.get(name)))
    return found


def recorded(stage: Stage, cert_id: CertId) -> tuple[Any, ...]:
    ((sha256, generation, not_after, cert_path),) = stage.sql(
        "select i.sha256, i.generation, i.not_after, i.cert_path from knit_issued i where cert_id = %s", cert_id
    )
    return sha256, generation, not_after.strftime("%Y-%m-%dT%H:%M:%SZ"), cert_path


def as_published(value: dict[str, Any]) -> tuple[Any, ...]:
    return value["sha256"], value["knit"]["generation"], value["not_after"], value["cert_path"]


def forced(stage: Stage, flows: Flows, cert_id: CertId) -> None:
    """Another worker renews and publishes it, whoever holds the lease."""
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    assert isinstance(flows.renew.run(cert_id), Renewed)
    assert flows.publish.waiting().published == (cert_id,)


@pytest.mark.parametrize("ahead", [0, 3600], ids=["clocks agree", "the paused worker's clock is ahead"])
@pytest.mark.parametrize("other_key", [False, True], ids=["other path", "other key"])
def test_a_move_that_pauses_never_writes_the_old_pair_over_a_newer_one(
    stage: Stage, ahead: int, other_key: bool
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    key = f"{name}:new" if other_key else name
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        stage.sql("update knit_certs set cert_path = '/m' || cert_path, valkey_key = %s where id = %s", key, cert_id)
        flows.reconcile.run()
        late = interrupted(flows, "publish", lambda: forced(stage, flows, cert_id))
        later = lambda: clock.now() + timedelta(seconds=ahead)  # noqa: E731
        dataclasses.replace(late.publish, clock=later).everything()
        value = published(stage, key)
        assert recorded(stage, cert_id) == as_published(value)
        (spki,) = {row[0] for row in stage.sql("select spki_sha256 from knit_issued where cert_id = %s", cert_id)}
        assert x509.CertKey.of(value["privkey"].encode()).spki_sha256 == spki
        ((newest,),) = stage.sql("select max(id) from knit_attempts where cert_id = %s", cert_id)
        assert stage.sql("select attempt_id from knit_issued where cert_id = %s", cert_id) == [(newest,)]


def test_a_move_that_valkey_does_not_take_is_not_recorded(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        whole_way(flows, cert_id)
        before = recorded(stage, cert_id)
        stage.sql("update knit_certs set cert_path = '/m' || cert_path where id = %s", cert_id)
        flows.reconcile.run()
        interrupted(flows, "publish", lambda: client.set(name, "somebody else's")).publish.everything()
    assert recorded(stage, cert_id) == before


@pytest.mark.parametrize("pauses_before", ["look", "prune"])
def test_a_prune_that_pauses_leaves_the_value_of_a_certificate_that_was_added_again(
    stage: Stage, pauses_before: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        stage.sql("delete from knit_certs where id = %s", cert_id)

        def added_again() -> None:
            row = {"domains": name, "valkey_key": name, "cert_path": f"/{name}.crt", "key_path": f"/{name}.key"}
            with psycopg.connect(stage.servers.database) as connection:
                connection.execute(ROW, row)
            ((again,),) = stage.sql("select id from knit_certs where domains = %s", name)
            flows.reconcile.store.adopt()
            assert isinstance(flows.renew.run(again), Renewed)
            assert flows.publish.waiting().published == (again,)

        interrupted(flows, pauses_before, added_again).publish.everything()
        ((again,),) = stage.sql("select id from knit_certs where domains = %s", name)
        assert recorded(stage, again) == as_published(published(stage, name))
        flows.publish.everything()
        assert recorded(stage, again) == as_published(published(stage, name))


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_this_installation_did_not_write_is_never_removed(stage: Stage, confirmed: bool) -> None:
    """Strings, lists and values without our id in the index, and names that come apart at a NUL."""
    (cert_id, name), (removed, tomb) = stage.wanted(2).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        for one in (cert_id, removed):
            whole_way(flows, one)
        value = published(stage, name)
        others = {
            "other:text": "a string of another program",
            "other:json": '{"fullchain": 1}',
            "left": "one half",
            "right": "the other half",
            "other:go": json.dumps({member: text for member, text in value.items() if member != "knit"}),
            "other:knit": json.dumps({**value, "knit": {**value["knit"], "installation": "another"}}),
        }
        client.mset(others)
        client.rpush("other:list", "x")
        client.sadd("knit:index", *(set(others) - {"left", "right"}), "left\0right", "other:list", "other:gone")
        stage.sql("delete from knit_certs where id = %s", removed)
        client.srem("knit:index", tomb)
        client.set(tomb, "another program's by now")
        with flows.publish.leases.hold("publish") as lease:
            assert lease is not None
            pruned = flows.publish.prune.run(lease, confirmed=confirmed)
        assert pruned.foreign == {*others, "other:list"} - {"left", "right"}
        assert {key: client.get(key) for key in others} == others
        assert client.lrange("other:list", 0, -1) == ["x"]
        assert client.get(tomb) == "another program's by now"
        assert client.sismember("knit:index", "left\0right")
        assert published(stage, name) == value


def test_a_bundle_that_is_published_after_its_certificate_was_removed_is_taken_out_again(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.renew.run(cert_id)

        def removed_and_pruned() -> None:
            stage.sql("delete from knit_certs where id = %s", cert_id)
            stage.sql("update knit_attempts set ended_at = now(), step = 'abandoned' where cert_id = %s", cert_id)
            flows.publish.everything()

        interrupted(flows, "publish", removed_and_pruned).publish.waiting()
        flows.publish.everything()
        assert client.get(name) is None
        assert not client.sismember("knit:index", name)


def test_nothing_is_written_under_a_lease_that_was_lost(stage: Stage) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        before = published(stage, name)
        stage.sql("update knit_certs set cert_path = '/moved.crt' where id = %s", cert_id)
        flows.reconcile.run()

        def another_takes_it() -> None:
            stage.sql("update knit_leases set epoch = epoch + 1, owner = 'another' where name = 'publish'")
            time.sleep(LIFETIME)

        with pytest.raises(LeaseLost):
            interrupted(flows, "look", another_takes_it).publish.everything()
        assert published(stage, name) == before


def test_what_is_live_already_is_recorded_as_it_was_written(stage: Stage) -> None:
    """A worker published and died; the paths wanted have changed since."""
    ((cert_id, name),) = stage.wanted(1).items()
    life = Life()
    with stage.process(life) as flows:
        flows.renew.run(cert_id)
        life.last, life.after = life.calls + 4, True
        with pytest.raises(KilledError):
            flows.publish.waiting()
    assert life.said == "publish"
    stage.sql("update knit_certs set cert_path = '/moved.crt' where id = %s", cert_id)
    with stage.process(Life()) as flows:
        assert flows.publish.waiting(begun=True).published == (cert_id,)
        assert recorded(stage, cert_id) == as_published(published(stage, name))
        flows.reconcile.run()
        assert flows.publish.everything().refreshed == (cert_id,)
        assert published(stage, name)["cert_path"] == "/moved.crt"
        assert recorded(stage, cert_id) == as_published(published(stage, name))


@pytest.mark.parametrize(
    "hand",
    [
        "delete from knit_issued where cert_id = %s",
        "update knit_issued set not_after = 'infinity' where cert_id = %s",
        "update knit_issued set not_after = '2099-01-01' where cert_id = %s",
    ],
)
def test_what_a_hand_did_to_the_record_of_a_value_is_made_good_by_a_pass_without_an_order(
    stage: Stage, hand: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        flows.reconcile.run()
        before = recorded(stage, cert_id)
        stage.sql(hand, cert_id)
        for _ in range(2):
            assert cert_id not in flows.reconcile.run(deep=True).renew
        flows.publish.everything()
        assert recorded(stage, cert_id) == before == as_published(published(stage, name))
        ((planned,),) = stage.sql("select check_at < now() + '1 year' from knit_schedule where cert_id = %s", cert_id)
        assert planned


HELD_BACK = "select id from knit_certs where last_error like '%is held back until %-%-%T%Z'"


def test_what_is_held_back_says_so_until_its_value_is_back(stage: Stage) -> None:
    certificates = stage.wanted(22)
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        for cert_id in certificates:
            flows.renew.run(cert_id)
        flows.publish.everything()
        kept = {key: client.dump(key) for key in client.keys("*")}
        stage.servers.valkey.flush()
        flows.reconcile.run()
        assert len(stage.sql(HELD_BACK)) == 2
        for key, value in kept.items():
            client.restore(key, 0, value or b"", replace=True)
        stage.sql("update knit_schedule set check_at = '-infinity' returning 1")
        flows.reconcile.run(deep=True)
        assert stage.sql(HELD_BACK) == []


def test_many_lost_values_are_not_all_ordered_anew_at_once(stage: Stage) -> None:
    certificates = stage.wanted(25)
    with stage.process(Life()) as flows:
        for cert_id in certificates:
            flows.renew.run(cert_id)
        flows.publish.everything()
        stage.servers.valkey.flush()
        plan = flows.reconcile.run()
        assert len(plan.renew) == 20
        held_back = {cert_id for (cert_id,) in stage.sql(HELD_BACK)}
        assert held_back == set(certificates) - set(plan.renew)
        for cert_id in plan.renew[:7]:
            flows.renew.run(cert_id)
        assert len(set(flows.reconcile.run().renew) - set(plan.renew[:7])) == 13
    ((waiting,),) = stage.sql("select count(*) from knit_schedule where check_at between now() and now() + '61 min'")
    assert waiting >= 5


@pytest.mark.parametrize("index_lost", [False, True])
def test_nothing_is_ordered_that_could_not_be_published(stage: Stage, index_lost: bool) -> None:
    """The user's rights end at other keys than this certificate's."""
    allowed, other = stage.wanted(2).items()
    valkey = stage.servers.valkey
    with closing(valkey.client()) as admin:
        rights = ["~knit:index*", f"~{allowed[1]}", "&*", "+@all", *(["-sadd"] if index_lost else [])]
        admin.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">pass", *rights)  # type: ignore[no-untyped-call]
        url = valkey.url_of(user="narrow", password="pass")
        narrow = dataclasses.replace(stage, environment=Environment({**stage.environment, "KNIT_VALKEY_URL": url}))
        with narrow.process(Life()) as flows:
            outcomes = [flows.renew.run(cert_id) for cert_id, _ in (allowed, other)]
            flows.publish.everything()
        admin.execute_command("ACL", "DELUSER", "narrow")  # type: ignore[no-untyped-call]
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [index_lost, True]
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    assert other[1] not in ca.counts()["names"]
    ((error, wait),) = stage.sql(
        "select last_error, retry_at > now() from knit_certs join knit_schedule on cert_id = id where id = %s", other[0]
    )
    assert f"the key {other[1]} is outside" in error
    assert wait


def test_an_id_that_the_valkey_has_lost_since_the_pass_is_claimed_again_before_an_order(stage: Stage) -> None:
    first, second = stage.wanted(2)
    with stage.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        flows.renew.run(first)
        flows.publish.everything()
        ours = client.get("knit:index:installation")
        client.delete("knit:index:installation")
        assert isinstance(flows.renew.run(second), Renewed)
        assert client.get("knit:index:installation") == ours


def test_what_a_flow_tells_is_what_postgresql_has_recorded_in_the_same_words(stage: Stage) -> None:
    (cert_id,) = stage.wanted(1)
    told: list[Told] = []
    with stage.process(Life()) as flows:
        hear: Any = told.append
        renew = dataclasses.replace(flows.renew, tell=hear)
        publish = dataclasses.replace(flows.publish, tell=hear)
        assert isinstance(renew.run(cert_id), Renewed)
        publish.everything()
        stage.sql("update knit_certs set domains = domains || ',no-such-zone.example' where id = %s", cert_id)
        flows.reconcile.run()
        assert isinstance(renew.run(cert_id), Failed)
    recorded = stage.sql("select kind, cert_id, attempt_id, severity from knit_events order by id")
    kinds = [one.kind for one in told]
    assert kinds[:2] == [Kind.CERTIFICATE_ISSUED, Kind.CERTIFICATE_PUBLISHED]
    assert kinds[-1] in {Kind.RENEWAL_FAILED, Kind.RENEWAL_POSTPONED}
    assert [(one.kind.value, one.cert_id, one.attempt_id, one.severity.value) for one in told] == [
        row for row in recorded if row[0] in kinds
    ]
