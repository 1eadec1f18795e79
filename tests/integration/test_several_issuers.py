"""Several issuers in one process, each with an account of its own, on two CAs that count what is asked of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import josepy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from knit.app.surveying import survey
from knit.core.model.attempt import Failed, Renewed
from knit.core.model.certificate import CertId
from knit.issuers.acme.jws import new_account_key
from knit.settings.environment import Environment
from knit.settings.issuers import described
from knit.store.database import Database
from rig.bind import Bind
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import Servers
from tests.integration.test_flows import Life, Stage, whole_way


@dataclass(frozen=True, slots=True)
class Two(Stage):
    """A stage with the issuers `first` and `second`."""

    first: ScriptedCA
    second: ScriptedCA

    def one(self, issuer: str = "first") -> tuple[CertId, str]:
        """A certificate that comes from there."""
        ((cert_id, name),) = self.wanted(1).items()
        self.sql("update knit_certs set issuer = %s where id = %s", issuer, cert_id)
        self.sql("update knit_certs set seen = wanted")
        return cert_id, name

    def finalized(self, name: str) -> tuple[int, int]:
        """How many orders for it each of them has finalized."""
        return tuple(ca.counts()["names"].get(name, {}).get("finalized", 0) for ca in (self.first, self.second))


def issuers(default: str = '["first"]', **described: str) -> str:
    """The text of a file of issuers."""
    tables = (f'[issuer.{name}]\nkind = "acme"\n{keys}\n' for name, keys in described.items())
    return f"default = {default}\n{''.join(tables)}"


def keys(ca: ScriptedCA, more: str = "") -> str:
    """What the table of an issuer says of this CA."""
    return f'directory = "{ca.directory_url}"\nca_file = "{ca.ca_file}"\nemail = "ops@knit.example"\n{more}'


def environment(servers: Servers, text: str, **more: str) -> Environment:
    """With this file, and without the variables that it stands for."""
    plain = {name: value for name, value in servers.settings().items() if not name.startswith("KNIT_ACME_")}
    return Environment({**plain, "KNIT_QUEUE_URL": "", "KNIT_ISSUERS": text, **more})


@pytest.fixture
def two(bind: Bind, migrated_url: str, valkey: Valkey, queue_valkey: Valkey) -> Iterator[Two]:
    valkey.flush()
    dns: dict[str, Any] = {"dns_server": bind.address, "default": {"validation": "dns"}}
    with ScriptedCA(**dns) as first, ScriptedCA(**dns, seed=1) as second:
        servers = Servers(ca=first, dns=bind, database=migrated_url, valkey=valkey, queue=queue_valkey)
        text = issuers(first=keys(first), second=keys(second))
        yield Two(servers, environment(servers, text), first, second)


def test_each_certificate_comes_from_its_issuer_and_each_issuer_has_an_account(two: Two) -> None:
    default, first, second = (two.one(name) for name in ("", "first", "second,first"))
    with two.process(Life()) as flows:
        for cert_id, _ in (default, first, second):
            whole_way(flows, cert_id)
    assert [two.finalized(name) for _, name in (default, first, second)] == [(1, 0), (1, 0), (0, 1)]
    issued = two.sql("select issuer, directory from knit_issued order by cert_id")
    assert issued == [
        ("first", two.first.directory_url),
        ("first", two.first.directory_url),
        ("second", two.second.directory_url),
    ]
    accounts = two.sql("select issuer, directory, uri is not null from knit_accounts order by issuer")
    assert accounts == [("first", two.first.directory_url, True), ("second", two.second.directory_url, True)]
    assert two.sql("select name, kind, directory from knit_issuers order by name") == [
        ("first", "acme", two.first.directory_url),
        ("second", "acme", two.second.directory_url),
    ]


def test_what_a_certificate_does_not_ask_for_its_issuer_says(two: Two) -> None:
    text = issuers(first=keys(two.first, 'key_type = "ec384"'), second=keys(two.second, 'key_type = "rsa2048"'))
    stage = Two(two.servers, environment(two.servers, text), two.first, two.second)
    own, second = stage.one(), stage.one("second")
    stage.sql("update knit_certs set key_type = 'ec256' where id = %s", own[0])
    stage.sql("update knit_certs set seen = wanted")
    with stage.process(Life()) as flows:
        for cert_id, _ in (own, second):
            whole_way(flows, cert_id)
        assert stage.sql("select key_type from knit_issued order by cert_id") == [("ec256",), ("rsa2048",)]
        assert not {own[0], second[0]} & set(flows.reconcile.run().renew)
    # The processes' configuration is part of what is wanted.
    with two.process(Life()) as flows:
        assert set(flows.reconcile.run().renew) == {second[0]}
        whole_way(flows, second[0])
        assert second[0] not in flows.reconcile.run().renew
    assert stage.finalized(second[1]) == (0, 2)


def test_an_issuer_that_cannot_be_opened_fails_its_own_certificates_alone(two: Two) -> None:
    broken = keys(two.second).replace(str(two.second.ca_file), __file__)
    text = issuers(first=keys(two.first), second=broken)
    stage = Two(two.servers, environment(two.servers, text), two.first, two.second)
    good, bad = stage.one(), stage.one("second")
    with stage.process(Life()) as flows:
        failed = flows.renew.run(bad[0])
        assert isinstance(failed, Failed)
        assert "no PEM certificates" in failed.error
        assert isinstance(flows.renew.run(good[0]), Renewed)
    with two.process(Life()) as flows:
        stage.sql("update knit_schedule set retry_at = null")
        assert isinstance(flows.renew.run(bad[0]), Renewed)


def test_a_file_takes_over_from_the_plain_variables_without_a_new_order_or_account(two: Two) -> None:
    plain = Stage(two.servers, Environment({**two.servers.settings(), "KNIT_QUEUE_URL": ""}))
    ((cert_id, name),) = plain.wanted(1).items()
    with plain.process(Life()) as flows:
        whole_way(flows, cert_id)
    plain.sql("update knit_certs set issuer = 'acme', key_type = 'ec256'")
    ((uri,),) = plain.sql("select uri from knit_accounts")

    with two.process(Life()) as flows:
        assert cert_id not in flows.reconcile.run(deep=True).renew
        plain.sql("update knit_certs set requested_at = now() + interval '1 second' where id = %s", cert_id)
        plain.sql("update knit_schedule set check_at = '-infinity'")
        whole_way(flows, cert_id)
    assert two.finalized(name) == (2, 0)
    assert two.sql("select uri from knit_accounts") == [(uri,)], "the same account goes on"
    assert two.sql("select issuer from knit_issued") == [("first",)]


def test_an_attempt_of_the_plain_variables_is_gone_on_with_under_the_files_name(two: Two) -> None:
    plain = Stage(two.servers, Environment({**two.servers.settings(), "KNIT_QUEUE_URL": ""}))
    ((cert_id, name),) = plain.wanted(1).items()
    two.first.fault("certificate", act="reset", times=0)
    with plain.process(Life()) as flows:
        assert isinstance(flows.renew.run(cert_id), Failed)
    assert plain.sql("select step, issuer from knit_attempts") == [("finalizing", "acme")]
    two.first.clear_faults()
    plain.sql("update knit_attempts set retry_at = null")
    with two.process(Life()) as flows:
        whole_way(flows, cert_id)
    assert two.finalized(name) == (1, 0)
    assert two.first.counts()["names"][name]["orders"] == 1
    assert two.sql("select issuer from knit_issued") == [("acme",)]


def test_another_directory_under_one_name_stops_that_issuer_alone(two: Two) -> None:
    first, second = two.one(), two.one("second")
    with two.process(Life()) as flows:
        for cert_id, _ in (first, second):
            whole_way(flows, cert_id)
    swapped = issuers(first=keys(two.first), second=keys(two.first))
    stage = Two(two.servers, environment(two.servers, swapped), two.first, two.second)
    two.sql("update knit_certs set requested_at = now() + interval '1 second'")
    two.sql("update knit_schedule set check_at = '-infinity'")
    with stage.process(Life()) as flows:
        plan = flows.reconcile.run()
        assert plan.refused is not None
        assert "`knit issuers accept second`" in plan.refused
        assert set(plan.renew) == {first[0]}
        whole_way(flows, first[0])
        whole_way(flows, second[0])
    assert [stage.finalized(name) for _, name in (first, second)] == [(2, 0), (0, 1)]


def trials(two: Two) -> Two:
    """The same stage, where what the second issues is for trials."""
    text = issuers(first=keys(two.first), second=keys(two.second, "staging = true"))
    return Two(two.servers, environment(two.servers, text), two.first, two.second)


def change(stage: Stage, cert_id: CertId, what: str) -> None:
    """As a person would at a shell, and tried at once."""
    stage.sql(f"update knit_certs set {what} where id = %s", cert_id)
    stage.sql("update knit_certs set seen = wanted")
    stage.sql("update knit_attempts set retry_at = null")
    stage.sql("update knit_schedule set retry_at = null, check_at = '-infinity'")


def test_a_certificate_for_trials_never_takes_the_place_of_a_trusted_one_unasked(two: Two) -> None:
    stage = trials(two)
    (trusted, name), (trial, its_name) = stage.one(), stage.one("second")
    with stage.process(Life()) as flows:
        for cert_id in (trusted, trial):
            whole_way(flows, cert_id)
        change(stage, trusted, "issuer = 'second'")
        failed = flows.renew.run(trusted)
        assert isinstance(failed, Failed)
        assert "--allow-staging" in failed.error
        assert [stage.finalized(one) for one in (name, its_name)] == [(1, 0), (0, 1)]
        change(stage, trusted, "issuer = 'second', allow_staging = true")
        change(stage, trial, "issuer = 'first'")
        for cert_id in (trusted, trial):
            whole_way(flows, cert_id)
    assert [stage.finalized(one) for one in (name, its_name)] == [(1, 1), (1, 1)]


def test_a_fallback_to_an_issuer_for_trials_is_none_for_what_is_trusted(two: Two) -> None:
    stage = trials(two)
    cert_id, name = stage.one("first,second")
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        two.first.fault(act="reset", times=0)
        for _ in range(2):
            change(stage, cert_id, "requested_at = now() + interval '1 second'")
            assert isinstance(flows.renew.run(cert_id), Failed)
    assert stage.finalized(name) == (1, 0)


def spki(stage: Stage, cert_id: CertId) -> tuple[str, bool]:
    """The published key, and whether it is older than its certificate."""
    ((found, older),) = stage.sql(
        "select spki_sha256, key_since < issued_at from knit_issued where cert_id = %s", cert_id
    )
    return found, older


def test_a_key_is_kept_only_where_asked_for_and_never_one_that_is_compromised(two: Two) -> None:
    cert_id, _ = two.one()
    keys_ = []
    with two.process(Life()) as flows:
        for wish in ("enabled", "reuse_key = true", "reuse_key = true", "key_type = 'ec384'", "reuse_key = false"):
            change(two, cert_id, "enabled = true" if wish == "enabled" else wish)
            change(two, cert_id, "requested_at = now() + interval '1 second'")
            whole_way(flows, cert_id)
            keys_.append(spki(two, cert_id))
        first, *kept, other_kind, anew = keys_
        assert kept == [(first[0], True)] * 2
        assert len({first, other_kind, anew}) == 3
        assert {older for _, older in (first, other_kind, anew)} == {False}

        change(two, cert_id, "reuse_key = true")
        two.sql("insert into knit_compromised_keys (spki_sha256, cert_id) values (%s, %s)", anew[0], cert_id)
        change(two, cert_id, "requested_at = now() + interval '1 second'")
        whole_way(flows, cert_id)
        assert spki(two, cert_id)[0] != anew[0]


def test_another_wish_for_a_chain_makes_a_certificate_due_once(two: Two) -> None:
    cert_id, name = two.one()
    with two.process(Life()) as flows:
        whole_way(flows, cert_id)
        change(two, cert_id, "preferred_chain = 'No Such Root'")
        assert cert_id in flows.reconcile.run().renew
        whole_way(flows, cert_id)
        assert cert_id not in flows.reconcile.run().renew
    assert two.finalized(name) == (2, 0)


def test_an_issuer_is_asked_what_it_offers_and_spends_nothing(two: Two) -> None:
    cert_id, _ = two.one()

    def findings(text: str, name: str) -> dict[str, tuple[str, str]]:
        who = described(environment(two.servers, text))
        one = who.one(name)
        with Database.open(two.servers.database) as database:
            found = survey(one, database, (), time.sleep)
        return {one.subject: (one.verdict.value, one.text) for one in found}

    with two.process(Life()) as flows:
        whole_way(flows, cert_id)
    orders = two.first.counts()["names"]
    good = findings(issuers(first=keys(two.first), second=keys(two.second)), "first")
    assert good["account"] == ("ok", good["account"][1])
    assert good["account"][1].endswith(": valid")
    assert {verdict for verdict, _ in good.values()} == {"ok"}
    unused = findings(issuers(first=keys(two.first), second=keys(two.second)), "second")
    assert unused["account"] == ("ok", "registered by the first order")
    wrong = findings(issuers(first=keys(two.second, 'profile = "tiny"')), "first")
    assert wrong["profiles"][0] == "failed"
    assert wrong["recorded"][0] == "failed"
    two.second.fault(act="reset", times=0)
    away = findings(issuers(first=keys(two.first), second=keys(two.second)), "second")
    assert away["issuer"][0] == "failed"
    assert two.first.counts()["names"] == orders


def test_a_key_that_the_ca_does_not_know_takes_over_nothing_and_registers_nothing(two: Two, tmp_path: Path) -> None:
    (cert_id, _), path = two.one(), tmp_path / "account"
    path.write_text(new_account_key())
    two.first.script(eab={"kid": "c2VjcmV0"})
    text = issuers(first=keys(two.first, f'account_key_file = "{path}"'))
    with Two(two.servers, environment(two.servers, text), two.first, two.second).process(Life()) as flows:
        failed = flows.renew.run(cert_id)
    assert isinstance(failed, Failed)
    assert "account_key_file of issuer first: the CA knows no account with this key; whoever runs knit" in failed.error
    assert two.sql("select * from knit_accounts") == []
    assert two.first.accounts() == []


@pytest.mark.parametrize("form", ["PEM", "DER", "JWK"])
def test_an_account_that_is_there_already_is_taken_over_by_its_key_which_is_read_once(
    two: Two, tmp_path: Path, form: str
) -> None:
    (cert_id, _), (other, _) = two.one(), two.one()
    with two.process(Life()) as flows:
        whole_way(flows, cert_id)
    ((uri, pem),) = two.sql("select uri, private_key from knit_accounts")
    two.sql("delete from knit_accounts")
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forms = {
        "PEM": pem.encode(),
        "JWK": json.dumps(josepy.JWKEC(key=key).to_json()).encode(),
        "DER": key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    path = tmp_path / "account"
    path.write_bytes(forms[form])
    two.first.script(eab={"kid": "c2VjcmV0"})
    text = issuers(first=keys(two.first, f'account_key_file = "{path}"'))
    stage = Two(two.servers, environment(two.servers, text), two.first, two.second)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(other), Renewed)
    assert two.sql("select uri from knit_accounts") == [(uri,)]
    path.unlink()
    again, _ = two.one()
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(again), Renewed)
