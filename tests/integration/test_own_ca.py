"""A CA of our own and the self-signed issuer behind the flows, killed before and after every call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from knit.app import own_ca
from knit.core.model.attempt import Failed
from knit.core.model.certificate import CertId
from knit.core.model.keys import KeyType
from rig.bind import Bind
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.knit import knit
from tests.acceptance.scene import Servers
from tests.integration.test_flows import PARTS, Life, Mortal, Stage, dies, finish, nothing_is_left, part_of, whole_way
from tests.integration.test_several_issuers import environment, issuers, keys
from workers.actors import Flows

WISH = own_ca.NewCa(
    common_name="Inside",
    key_type=KeyType.EC256,
    lifetime=timedelta(days=900),
    permitted=("knit.example",),
    passphrase=None,
)


@dataclass(frozen=True, slots=True)
class Inside(Stage):
    """A stage with the issuers `inside` (a CA), `dev` (self-signed) and `out` (ACME)."""

    home: Path

    @contextmanager
    def process(self, life: Life) -> Iterator[Flows]:
        """What the CA records is a call like all others."""
        with Stage.process(self, life) as flows:
            issuers: Any = flows.renew.issuers
            own = issuers._port.issuer("inside")
            own._register = Mortal(own._register, life)
            yield flows

    def file(self, more: str = "", folder: str = "ca", default: str = '["inside"]') -> str:
        return text(self.home / folder, keys(acme(self.servers)), more, default)

    def using(self, **file: str) -> Inside:
        return Inside(self.servers, environment(self.servers, self.file(**file)), self.home)

    def serials(self, cert_id: CertId) -> list[str]:
        rows = self.sql("select serial from knit_ca_issued where cert_id = %s order by issued_at", cert_id)
        return [serial for (serial,) in rows]

    def published(self, name: str) -> list[x509.Certificate]:
        with closing(self.servers.valkey.client()) as client:
            raw: Any = client.get(name)
        return x509.load_pem_x509_certificates(json.loads(raw)["fullchain"].encode())

    def asks(self, cert_id: CertId, **columns: str) -> None:
        for column, value in columns.items():
            self.sql(f"update knit_certs set {column} = %s where id = %s", value, cert_id)
        self.sql("update knit_certs set seen = wanted")


def acme(servers: Servers) -> ScriptedCA:
    assert isinstance(servers.ca, ScriptedCA)
    return servers.ca


def text(folder: Path, out: str, more: str, default: str) -> str:
    files = f'cert_file = "{folder}/ca.pem"\nkey_file = "{folder}/ca.key"\n'
    own = f'[issuer.inside]\nkind = "ca"\n{files}{more}[issuer.dev]\nkind = "selfsigned"\n'
    return f"{issuers(default, out=out)}{own}"


@pytest.fixture
def inside(bind: Bind, database_url: str, valkey: Valkey, queue_valkey: Valkey, tmp_path: Path) -> Iterator[Inside]:
    valkey.flush()
    own_ca.make(WISH, None, tmp_path / "ca")
    with ScriptedCA(dns_server=bind.address, default={"validation": "dns"}) as ca:
        servers = Servers(ca=ca, dns=bind, database=database_url, valkey=valkey, queue=queue_valkey)
        yield Inside(servers, environment(servers, text(tmp_path / "ca", keys(ca), "", '["inside"]')), tmp_path)


@pytest.mark.parametrize("part", range(PARTS))
def test_an_attempt_killed_at_any_call_is_finished_with_one_certificate_that_counts(inside: Inside, part: int) -> None:
    life = Life()
    for cert_id in inside.wanted(2):
        life = Life()
        with inside.process(life) as flows:
            whole_way(flows, cert_id)
    assert life.calls >= 15
    for fatal in part_of(life.calls, part):
        ((cert_id, name),) = inside.wanted(1).items()
        death = dies(inside, cert_id, fatal)
        finish(inside, cert_id)
        (serial,) = inside.serials(cert_id)
        assert f"{inside.published(name)[0].serial_number:x}" == serial, death
        nothing_is_left(inside, name, death)
    assert acme(inside.servers).counts()["names"] == {}


def test_a_certificate_of_our_own_ca_needs_no_dns_provider_and_one_of_acme_does(inside: Inside) -> None:
    first, second = inside.wanted(2).items()
    inside.asks(first[0], provider="none")
    inside.asks(second[0], provider="none", issuer="out")
    with inside.process(Life()) as flows:
        whole_way(flows, first[0])
        failed = flows.renew.run(second[0])
    assert isinstance(failed, Failed)
    assert "DNS provider none: there is none, and this issuer asks for proofs" in failed.error
    (leaf,) = inside.published(first[1])
    assert leaf.issuer.rfc4514_string() == "CN=Inside"
    ((issuer, directory),) = inside.sql("select issuer, directory from knit_issued")
    assert issuer == "inside"
    assert inside.sql("select name, kind, directory from knit_issuers where name = 'inside'") == [
        ("inside", "ca", directory)
    ]


@pytest.mark.parametrize("option", ["--profile", "--preferred-chain"])
def test_what_a_ca_of_our_own_has_not_is_refused_at_the_command(inside: Inside, option: str) -> None:
    cert_id, name = next(iter(inside.wanted(1).items()))
    places = ("--provider", "none", "--valkey-key", "k", "--cert-path", "/srv/c.crt", "--key-path", "/srv/c.key")
    added = knit("add", "--domains", f"new.{name}", *places, option, "short", **inside.environment)
    moved = knit("set", "--id", str(cert_id), "--issuer", "dev,inside", option, "short", **inside.environment)
    assert (added.code, moved.code) == (2, 2)
    assert "'short': issuer inside signs here and has none" in added.err
    done = knit("set", "--id", str(cert_id), "--issuer", "inside,out", option, "short", **inside.environment)
    assert done.code == 0, done.err


def test_a_name_that_the_ca_may_not_issue_for_fails_with_one_sentence_and_is_not_asked_elsewhere(
    inside: Inside,
) -> None:
    ((cert_id, _),) = inside.wanted(1).items()
    narrow = inside.using(more='permitted = ["other.knit.example"]\n')
    narrow.asks(cert_id, issuer="inside,out")
    with narrow.process(Life()) as flows:
        failed = flows.renew.run(cert_id)
    assert isinstance(failed, Failed)
    assert "not permitted by issuer.inside.permitted, which permits other.knit.example" in failed.error
    assert inside.serials(cert_id) == []
    assert acme(inside.servers).counts()["names"] == {}


def test_another_key_under_the_same_name_issues_nothing_until_it_is_accepted(inside: Inside) -> None:
    ((cert_id, name),) = inside.wanted(1).items()
    with inside.process(Life()) as flows:
        whole_way(flows, cert_id)
    own_ca.make(WISH, None, inside.home / "other")
    other = inside.using(folder="other")
    before = inside.published(name)
    with other.process(Life()) as flows:
        plan = flows.reconcile.run()
        assert plan.renew == ()
        assert plan.refused is not None
        assert "`knit issuers accept inside`" in plan.refused
        flows.renew.run(cert_id)
        memory: Any = flows.renew.memory
        assert memory.accept(flows.renew.rules.named("inside")) == 1
        other.sql("update knit_schedule set check_at = '-infinity'")
        assert flows.reconcile.run().renew == (cert_id,)
        whole_way(flows, cert_id)
    assert inside.published(name) != before
    assert len({*inside.sql("select directory from knit_ca_issued")}) == 2


def test_a_certificate_of_one_hour_is_renewed_at_half_its_life(inside: Inside) -> None:
    ((cert_id, name),) = inside.wanted(1).items()
    short = inside.using(more='lifetime = "1h"\n')
    with short.process(Life()) as flows:
        whole_way(flows, cert_id)
        assert flows.reconcile.run().renew == ()
    (leaf,) = inside.published(name)
    left = leaf.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    ((at,),) = inside.sql("select check_at from knit_schedule where cert_id = %s", cert_id)
    assert timedelta(minutes=15) < at - datetime.now(UTC) < timedelta(minutes=45)


def test_a_self_signed_certificate_is_published_and_records_what_it_is(inside: Inside) -> None:
    ((cert_id, name),) = inside.wanted(1).items()
    inside.asks(cert_id, issuer="dev", provider="none")
    with inside.process(Life()) as flows:
        whole_way(flows, cert_id)
        assert flows.reconcile.run().renew == ()
    leaf, above = inside.published(name)
    leaf.verify_directly_issued_by(above)
    assert inside.sql("select issuer, directory from knit_issued") == [("dev", "selfsigned:dev")]
    assert inside.sql("select kind, directory from knit_issuers where name = 'dev'") == [
        ("selfsigned", "selfsigned:dev")
    ]
