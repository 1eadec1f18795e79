"""An import killed before and after every call it makes, and what passes make of imported certificates."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from knit.app.console import Console, open_console
from knit.app.importing import importing
from knit.core.brought import Brought, File, brought
from knit.core.imported import IMPORTED
from knit.core.model.attempt import Renewed, Skipped
from knit.core.model.certificate import CertId
from knit.core.model.verdict import Act
from knit.core.wanted import Change, Edited
from knit.errors import LeaseLost, Misconfigured, Refused
from knit.flows.importing import Importing
from knit.settings.central import Central, Worker
from rig.scripted_ca.client import ScriptedCA
from tests.integration.node.conftest import Node, home, node
from tests.integration.test_flows import NUMBERS, KilledError, Life, Mortal, Stage, dies, stage, whole_way

__all__ = ["home", "node", "stage"]

DAYS = timedelta(days=1)
COMMON_NAME = x509.NameOID.COMMON_NAME


def signed(*names: str, days: float = 365, age: float = 0, key: ec.EllipticCurvePrivateKey | None = None) -> Brought:
    """A bought certificate: `age` days old, `days` days to live."""
    signer, key = ec.generate_private_key(ec.SECP256R1()), key or ec.generate_private_key(ec.SECP256R1())
    above = x509.Name([x509.NameAttribute(COMMON_NAME, "bought from")])
    now = datetime.now(UTC)

    def made(public: ec.EllipticCurvePublicKey, subject: x509.Name, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(above, subject, public, x509.random_serial_number())
        dated = builder.not_valid_before(now - age * DAYS).not_valid_after(now + days * DAYS)
        known = dated.add_extension(x509.AuthorityKeyIdentifier(b"\x01\x02", None, None), critical=False)
        certificate = known.add_extension(extension, critical=False).sign(signer, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    leaf = made(key.public_key(), x509.Name([]), x509.SubjectAlternativeName([*map(x509.DNSName, names)]))
    chain = leaf + made(signer.public_key(), above, x509.BasicConstraints(ca=True, path_length=None))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return brought(File(name="chain", data=chain), File(name="key", data=pem), now)


def new() -> str:
    return f"x{next(NUMBERS)}.knit.example"


def places(name: str) -> dict[str, Any]:
    return {"valkey_key": name, "cert_path": f"/{name}.crt", "key_path": f"/{name}.key"}


@dataclass(frozen=True)
class Desk:
    """Where a person imports certificates."""

    stage: Stage

    @contextmanager
    def opened(self, life: Life) -> Iterator[tuple[Importing, Console]]:
        env = self.stage.environment
        with (
            open_console(Central.read(env)) as console,
            importing(Worker.read(env, queue_required=False), console) as flow,
        ):
            ports: dict[str, Any] = {
                name: Mortal(getattr(flow, name), life) for name in ("store", "staging", "publication")
            }
            publishing: dict[str, Any] = {
                name: Mortal(getattr(flow.publish, name), life) for name in ("store", "staging", "publication")
            }
            publish = dataclasses.replace(flow.publish, **publishing)
            yield dataclasses.replace(flow, publish=publish, sleep=lambda _: None, **ports), console

    def bring(self, found: Brought, *, life: Life | None = None, cert_id: CertId | None = None, **said: Any) -> Edited:
        change = Change(**{"names": found.names, **places(found.names[0]), **said})
        with self.opened(life or Life()) as (flow, _):
            return flow.run(found, change, cert_id)[0]

    def published(self, key: str) -> dict[str, Any]:
        with closing(self.stage.servers.valkey.client()) as client:
            raw: Any = client.get(key)
        found: dict[str, Any] = json.loads(raw)
        return found

    def passes(self) -> Mapping[CertId, Act]:
        """A whole pass; gives what it decided."""
        with self.stage.process(Life()) as flows:
            plan = flows.reconcile.run(deep=True)
            for cert_id in plan.renew:
                flows.renew.run(cert_id)
            flows.publish.everything()
        return dict.fromkeys(plan.renew, Act.RENEW)

    def row(self, cert_id: CertId) -> tuple[str, str, str | None]:
        ((provider, issuer, error),) = self.stage.sql(
            "select provider, issuer, last_error from knit_certs where id = %s", cert_id
        )
        return provider, issuer, error

    def events(self, cert_id: CertId) -> list[str]:
        rows = self.stage.sql("select kind from knit_events where cert_id = %s order by id", cert_id)
        return [kind for (kind,) in rows]

    @property
    def ca(self) -> ScriptedCA:
        assert isinstance(self.stage.servers.ca, ScriptedCA)
        return self.stage.servers.ca

    def orders(self) -> int:
        return sum(names["orders"] for names in self.ca.counts()["names"].values())


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


@pytest.mark.timeout(120)
def test_an_import_killed_at_any_call_is_whole_once_it_is_run_again(desk: Desk) -> None:
    life = Life()
    desk.bring(signed(new()), life=life)
    assert life.calls >= 9
    deaths = {}
    for last, after in itertools.product(range(1, life.calls + 1), (False, True)):
        found = signed(new())
        fatal = Life(last=last, after=after)
        with pytest.raises(KilledError):
            desk.bring(found, life=fatal)
        deaths[found.names[0]] = fatal.said
        # Before any other dies, which might do some of what this one has left.
        edited = desk.bring(found)
        value = desk.published(found.names[0])
        assert value["fullchain"].encode() == found.bundle.fullchain, fatal.said
        assert desk.row(edited.id) == ("none", IMPORTED, None), fatal.said
        assert desk.stage.sql("select * from knit_attempts where ended_at is null") == [], fatal.said
    assert set(deaths.values()) >= {"begin", "put", "hand_over", "publish", "record_published"}
    assert desk.passes() == {}
    with closing(desk.stage.servers.valkey.client()) as client:
        assert client.smembers("knit:index") >= set(deaths)
        assert list(client.scan_iter("knit:index:staging:*")) == []
    assert desk.orders() == 0


@pytest.mark.timeout(120)
def test_what_was_handed_over_before_a_death_a_pass_publishes_and_what_was_not_it_ends(desk: Desk) -> None:
    life = Life()
    desk.bring(signed(new()), life=life)
    whole, broken = set(), {}
    for last, after in itertools.product(range(1, life.calls + 1), (False, True)):
        found, fatal = signed(new()), Life(last=last, after=after)
        with pytest.raises(KilledError):
            desk.bring(found, life=fatal)
        # Longer than an import, and than a publication, can take.
        desk.stage.sql(
            "update knit_attempts set started_at = started_at - interval '6 minutes', "
            "updated_at = updated_at - interval '1 minute' where ended_at is null"
        )
        # Before any other dies, which might do some of what this one has left.
        desk.passes()
        desk.passes()
        rows = desk.stage.sql(
            "select i.cert_id is not null, c.last_error "
            "from knit_certs c left join knit_issued i on i.cert_id = c.id where c.domains = %s",
            found.names[0],
        )
        end = f"{'after' if after else 'before'} {fatal.said}"
        for published, error in rows:
            if published:
                whole.add(end)
            else:
                broken[end] = error
    assert {"after hand_over", "before ready", "after publishing", "before publish", "after publish"} <= whole
    assert set(broken) == {"after begin", "before put", "after put", "before hand_over"}
    assert all("no certificate was: `knit import pem` does that" in error for error in broken.values())
    assert desk.stage.sql("select * from knit_attempts where ended_at is null") == []


def test_no_byte_of_what_is_imported_gets_into_postgres(desk: Desk) -> None:
    found = signed(new())
    desk.bring(found)
    tables = desk.stage.sql("select tablename from pg_tables where schemaname = 'public' and tablename like 'knit%%'")
    everything = "".join(str(desk.stage.sql(f"select t::text from {name} t")) for (name,) in tables)
    assert found.names[0] in everything
    body = [line for pem in (found.bundle.fullchain, found.bundle.privkey) for line in pem.decode().splitlines()]
    assert not [line for line in body if len(line) > 20 and line in everything]


def test_a_node_writes_what_was_imported_and_what_takes_its_place(desk: Desk, node: Node) -> None:
    name = new()
    files: dict[str, Any] = {"cert_path": str(node.folder / "a.crt"), "key_path": str(node.folder / "a.key")}
    for found in (signed(name, "*.knit.example"), signed("*.knit.example", name)):
        edited = desk.bring(found, valkey_key=name, **files)
        assert edited.after.names == (name, "*.knit.example")
        assert node.once()
        assert (node.folder / "a.crt").read_bytes() == found.bundle.fullchain
        assert (node.folder / "a.key").read_bytes() == found.bundle.privkey


def test_the_same_pair_again_is_published_no_second_time_unless_its_place_changes_or_its_value_is_lost(
    desk: Desk,
) -> None:
    found = signed(new())
    (name,) = found.names
    first = desk.bring(found)
    generations = [desk.published(name)["knit"]["generation"]]
    changes: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"cert_path": "/other.crt"}, False),
        ({"cert_path": "/other.crt"}, True),
    ]
    for change, loses in changes:
        if loses:
            with closing(desk.stage.servers.valkey.client()) as client:
                client.delete(name)
        assert desk.bring(found, **change).id == first.id
        generations.append(desk.published(name)["knit"]["generation"])
    assert generations[0] == generations[1] < generations[2] < generations[3]
    assert desk.published(name)["cert_path"] == "/other.crt"


def test_a_certificate_of_other_names_takes_the_place_of_one_by_its_id_alone(desk: Desk) -> None:
    name = new()
    edited = desk.bring(signed(name))
    other = signed(name, f"www.{name}")
    with pytest.raises(Misconfigured, match=f"belongs to certificate {edited.id}"):
        desk.bring(other)
    assert desk.bring(other, cert_id=edited.id).id == edited.id
    assert desk.published(name)["fullchain"].encode() == other.bundle.fullchain
    assert desk.passes() == {}
    assert desk.row(edited.id)[2] is None


def test_of_two_imports_at_once_the_later_one_is_published_and_the_other_says_so(desk: Desk) -> None:
    name = new()
    first, second = signed(name), signed(name)
    with desk.opened(Life()) as (flow, _):

        class Slow:
            def put(self, *given: Any) -> None:
                flow.staging.put(*given)
                desk.bring(second)

        late: Any = Slow()
        with pytest.raises(LeaseLost, match="imports another one for it"):
            dataclasses.replace(flow, staging=late).run(first, Change(names=first.names, **places(name)))
    assert desk.published(name)["fullchain"].encode() == second.bundle.fullchain
    assert desk.passes() == {}


def test_a_key_that_was_declared_compromised_is_not_imported(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    edited = desk.bring(signed(new(), key=key))
    desk.stage.sql("insert into knit_compromised_keys select spki_sha256, cert_id from knit_issued")
    with pytest.raises(Refused, match="declared compromised"):
        desk.bring(signed(new(), key=key))
    assert desk.stage.sql("select id from knit_certs") == [(edited.id,)]


def told(caplog: pytest.LogCaptureFixture) -> int:
    """How often somebody was asked in the log."""
    lines = [line for line in caplog.messages if line == "certificate has to be imported"]
    caplog.clear()
    return len(lines)


def test_a_person_is_told_once_that_it_expires_and_once_that_it_has_and_it_fails_only_then(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    edited = desk.bring(signed(new(), days=20, age=100))
    for _ in range(3):
        assert desk.passes() == {}
        desk.stage.sql("update knit_schedule set check_at = now()")
    desk.passes()
    assert told(caplog) == 1
    assert desk.events(edited.id).count("certificate expires soon") == 1
    assert desk.row(edited.id)[2] is None
    with desk.opened(Life()) as (_, console):
        assert console.certs.astray() == 0
    ((check_at, not_after),) = desk.stage.sql(
        "select check_at, not_after from knit_schedule s join knit_issued using (cert_id)"
    )
    assert check_at == not_after
    desk.stage.sql("update knit_issued set not_after = now() - interval '1 second'")
    desk.stage.sql("update knit_schedule set check_at = now()")
    for _ in range(2):
        with desk.stage.process(Life()) as flows:
            assert flows.reconcile.run().due == 0
            assert flows.reconcile.store.passed().failing == 1
            desk.stage.sql("update knit_schedule set check_at = now()")
    assert told(caplog) == 1
    assert desk.events(edited.id).count("certificate expired") == 1
    assert "it expired at" in str(desk.row(edited.id)[2])
    with desk.opened(Life()) as (_, console):
        assert console.certs.astray() == 1
    desk.bring(signed(edited.after.names[0]))
    assert desk.passes() == {}
    assert desk.row(edited.id)[2] is None
    assert desk.orders() == 0


def test_a_lost_value_is_never_ordered_and_comes_back_by_its_import_or_by_itself(desk: Desk) -> None:
    kept, gone = signed(new()), signed(new())
    ids = [desk.bring(found).id for found in (kept, gone)]
    with closing(desk.stage.servers.valkey.client()) as client:
        raw: Any = client.get(kept.names[0])
        client.delete(kept.names[0], gone.names[0])
        assert desk.passes() == {}
        assert all("its published value is lost" in str(desk.row(one)[2]) for one in ids)
        client.set(kept.names[0], raw)
    desk.bring(gone)
    desk.stage.sql("update knit_schedule set check_at = now() where check_at < now() + interval '2 hours'")
    assert desk.passes() == {}
    assert [desk.row(one)[2] for one in ids] == [None, None]
    assert desk.orders() == 0


def test_what_the_database_has_forgotten_is_taken_from_the_value_again(desk: Desk) -> None:
    edited = desk.bring(signed(new()))
    before = desk.stage.sql("select serial, not_after, issuer, directory, ari_id from knit_issued")
    assert before[0][2:] == (IMPORTED, IMPORTED, None)
    desk.stage.sql("delete from knit_issued")
    desk.stage.sql("delete from knit_tombstones")
    desk.stage.sql("update knit_schedule set check_at = '-infinity'")
    assert desk.passes() == {}
    assert desk.stage.sql("select serial, not_after, issuer, directory, ari_id from knit_issued") == before
    assert desk.row(edited.id)[2] is None


def test_what_a_process_that_knows_of_no_imports_has_failed_to_order_fails_no_more(desk: Desk) -> None:
    """It looks for an issuer of that name, finds none, and orders nothing."""
    edited = desk.bring(signed(new(), days=20, age=100))
    desk.stage.sql("update knit_certs set last_error = 'issuer ''imported'' is not configured here'")
    desk.stage.sql("update knit_schedule set failures = 3, retry_at = now() + interval '1 day'")
    assert desk.passes() == {}
    assert desk.row(edited.id) == ("none", IMPORTED, None)
    assert desk.stage.sql("select failures, retry_at from knit_schedule") == [(0, None)]


def test_no_ca_is_asked_about_it_and_no_budget_is_charged(desk: Desk) -> None:
    desk.bring(signed(new()))
    desk.passes()
    assert desk.stage.sql("select * from knit_ari") == []
    assert desk.stage.sql("select * from knit_budget") == []
    assert desk.stage.sql("select name from knit_issuers where name = 'imported'") == []


def test_disabled_it_goes_from_valkey_and_enabled_it_waits_for_its_import(desk: Desk) -> None:
    found = signed(new())
    edited = desk.bring(found)
    with desk.opened(Life()) as (_, console):
        console.certs.switch(edited.id, enabled=False)
        desk.passes()
        with closing(desk.stage.servers.valkey.client()) as client:
            assert not client.exists(found.names[0])
        console.certs.switch(edited.id, enabled=True)
    assert desk.passes() == {}
    assert "`knit import pem` again" in str(desk.row(edited.id)[2])
    desk.bring(found)
    assert desk.row(edited.id)[2] is None
    with desk.opened(Life()) as (_, console):
        console.certs.remove(edited.id)
    desk.passes()
    with closing(desk.stage.servers.valkey.client()) as client:
        assert not client.exists(found.names[0])


@pytest.mark.parametrize("last", [8, 12, 16])
def test_an_import_ends_what_was_being_ordered_and_leaves_nothing_of_it(desk: Desk, last: int) -> None:
    ((cert_id, name),) = desk.stage.wanted(1).items()
    dies(desk.stage, cert_id, Life(last=last, after=True))
    found = signed(name)
    edited = desk.bring(found)
    assert edited.id == cert_id
    assert edited.differences["issuer"][1] == IMPORTED
    desk.stage.sql("update knit_leases set expires_at = now()")
    before = desk.orders()
    desk.passes()
    assert desk.passes() == {}
    assert desk.orders() == before
    assert desk.row(cert_id) == ("none", IMPORTED, None)
    assert desk.published(name)["fullchain"].encode() == found.bundle.fullchain
    assert desk.stage.sql("select * from knit_challenges where removed_at is null") == []
    assert desk.stage.sql("select * from knit_attempts where ended_at is null") == []


def test_a_worker_that_is_on_it_stops_and_publishes_nothing_more(desk: Desk) -> None:
    ((cert_id, name),) = desk.stage.wanted(1).items()
    found = signed(name)
    with desk.stage.process(Life()) as flows:

        class Overtaken:
            def __init__(self, put: Callable[..., None]) -> None:
                self._put = put

            def put(self, *given: Any) -> None:
                self._put(*given)
                desk.bring(found)

        late: Any = Overtaken(flows.renew.staging.put)
        with pytest.raises(LeaseLost):
            dataclasses.replace(flows.renew, staging=late).run(cert_id)
        assert isinstance(flows.renew.run(cert_id), Skipped)
        flows.publish.everything()
    assert desk.published(name)["fullchain"].encode() == found.bundle.fullchain


def test_what_is_to_be_ordered_now_is_published_from_no_import_that_waits(desk: Desk) -> None:
    found = signed(new())
    with pytest.raises(KilledError):
        desk.bring(found, life=Life(last=4, after=True))
    ((cert_id, step),) = desk.stage.sql("select cert_id, step from knit_attempts where ended_at is null")
    assert step == "issued"
    with desk.opened(Life()) as (flow, _):
        flow.edit.change(cert_id, Change(issuer="acme", provider="dnsupdate"))
    with desk.stage.process(Life()) as flows:
        assert flows.publish.everything().published == ()
    assert "import abandoned" in desk.events(cert_id)


def test_from_imported_to_an_issuer_and_back(desk: Desk) -> None:
    name = new()
    cert_id = desk.bring(signed(name)).id
    with desk.opened(Life()) as (flow, _):
        flow.edit.change(cert_id, Change(issuer="acme", provider="dnsupdate"))
    with desk.stage.process(Life()) as flows:
        assert flows.reconcile.run().renew == (cert_id,)
        assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    assert desk.orders() == 1
    ((reason,),) = desk.stage.sql("select reason from knit_attempts where issuer = 'acme'")
    assert reason == "wanted issuer differs"
    found = signed(name)
    desk.bring(found)
    assert desk.passes() == {}
    assert desk.published(name)["fullchain"].encode() == found.bundle.fullchain
    assert desk.orders() == 1


def test_a_staged_pair_that_is_gone_fails_the_import_and_not_what_is_published(desk: Desk) -> None:
    name = new()
    first, second = signed(name), signed(name)
    cert_id = desk.bring(first).id
    with pytest.raises(KilledError):
        desk.bring(second, life=Life(last=4, after=True))
    ((step,),) = desk.stage.sql("select step from knit_attempts where ended_at is null")
    assert step == "issued"
    with closing(desk.stage.servers.valkey.client()) as client:
        (key,) = client.scan_iter("knit:index:staging:*")
        client.delete(key)
    with desk.stage.process(Life()) as flows:
        assert flows.publish.everything().failed == 1
    assert desk.passes() == {}
    assert "is gone: `knit import pem` again" in str(desk.row(cert_id)[2])
    assert desk.published(name)["fullchain"].encode() == first.bundle.fullchain
    brought = ["certificate imported", "certificate publishing", "certificate published"]
    assert desk.events(cert_id) == ["certificate added", *brought, "certificate imported", "import failed"]
    desk.bring(second)
    assert desk.row(cert_id)[2] is None


def test_a_row_that_a_hand_has_made_an_imported_one_is_left_to_a_person(desk: Desk) -> None:
    (one, _), (two, _) = desk.stage.wanted(2).items()
    with desk.stage.process(Life()) as flows:
        whole_way(flows, one)
    before = desk.orders()
    desk.stage.sql("update knit_certs set issuer = 'imported', provider = 'none'")
    assert desk.passes() == {}
    assert "its import was not finished" in str(desk.row(one)[2])
    assert "no certificate was" in str(desk.row(two)[2])
    desk.stage.sql("update knit_certs set issuer = 'imported,acme'")
    assert desk.passes() == {}
    assert "'imported': stands for" in str(desk.row(one)[2])
    assert desk.orders() == before
