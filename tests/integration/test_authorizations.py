"""Proofs of control of names outlive their order only where they are meant to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.issuers.acme import AcmeIssuer
from knit.issuers.acme.authorizations import deactivate
from knit.issuers.acme.session import Session
from knit.issuers.acme.wire import Order
from knit.settings.environment import Environment
from knit.store.journal.open_journal import AttemptJournal
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import KilledError, Life, Stage
from tests.integration.test_kept_orders import ca, stage, tried

__all__ = ["ca", "stage"]


def issued_twice(stage: Stage, ca: ScriptedCA) -> int:
    """How often control of the name was proved."""
    ((cert_id, name),) = stage.wanted(1).items()
    ca.script(authz_reuse_percent=100)
    for _ in range(2):
        assert isinstance(tried(stage, cert_id), Renewed)
        stage.sql("delete from knit_attempts where cert_id = %s", cert_id)
    return int(ca.counts_of(name)["challenges"])


@pytest.mark.parametrize(("value", "proofs"), [("true", 2), ("false", 1)])
def test_a_proof_is_given_up_once_its_certificate_is_there(
    stage: Stage, ca: ScriptedCA, value: str, proofs: int
) -> None:
    chosen = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_DEACTIVATE": value}))
    assert issued_twice(chosen, ca) == proofs


@pytest.mark.parametrize(
    "fault",
    [{"status": 405, "type": "malformed"}, {"act": "reset"}, {"status": 429, "type": "rateLimited"}, {"status": 500}],
)
def test_a_ca_that_does_not_go_along_costs_nothing(stage: Stage, ca: ScriptedCA, fault: dict[str, Any]) -> None:
    ca.behave(validation="always")
    # The first reading says what to prove, the second that it is proved; the third would give it up.
    ca.fault("authz", nth=3, times=0, **fault)
    assert issued_twice(stage, ca) >= 1
    assert stage.sql("select * from knit_pauses") == []


def test_a_worker_that_dies_once_it_has_given_proofs_up_has_kept_what_was_issued(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()

    def dies_afterwards(session: Session, order: Order) -> None:
        deactivate(session, order)
        raise KilledError

    monkeypatch.setattr("knit.issuers.acme.orders.deactivate", dies_afterwards)
    with stage.process(Life()) as flows, pytest.raises(KilledError):
        flows.renew.run(cert_id)
    monkeypatch.undo()
    with stage.process(Life()) as flows:
        # As many CAs have it: an order without its proofs is invalid, whatever came of it.
        monkeypatch.setattr(AcmeIssuer, "issue", not_again)
        assert isinstance(flows.renew.run(cert_id), Renewed)
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    assert ca.counts()["names"][name]["finalized"] == 1


def also(stage: Stage, name: str, other: str) -> CertId:
    """A certificate for this name and one below it."""
    names = f"{name},{other}.{name}"
    stage.sql(
        "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
        "values (%s, 'dnsupdate', %s, %s, %s)",
        *(names, names, f"/{other}.{name}.crt", f"/{other}.{name}.key"),
    )
    with stage.process(Life()) as flows:
        flows.reconcile.run()
    ((cert_id,),) = stage.sql("select id from knit_certs where domains = %s", names)
    return CertId(cert_id)


def test_a_proof_that_another_order_relies_on_is_given_up_by_the_last_of_them(
    stage: Stage, ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca.script(authz_reuse_percent=100)
    keeping = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_DEACTIVATE": "false"}))
    ((first, name),) = stage.wanted(1).items()
    assert isinstance(tried(keeping, first), Renewed)
    under_way, beside = also(stage, name, "a"), also(stage, name, "b")

    def dies_afterwards(journal: AttemptJournal, order_url: str, expires: datetime | None) -> None:
        ordered(journal, order_url, expires)
        raise KilledError

    ordered = AttemptJournal.ordered
    monkeypatch.setattr(AttemptJournal, "ordered", dies_afterwards)
    with pytest.raises(KilledError):
        tried(stage, under_way)
    monkeypatch.undo()
    assert isinstance(tried(stage, beside), Renewed)
    assert isinstance(tried(stage, under_way), Renewed)
    assert [ca.counts_of(name, f"{other}.{name}")["orders"] for other in "ab"] == [1, 1]
    assert ca.counts_of(name)["challenges"] == 1
    stage.sql("delete from knit_attempts where cert_id = %s", first)
    assert isinstance(tried(stage, first), Renewed)
    assert ca.counts_of(name)["challenges"] == 2, "the last of them has given it up"


def not_again(*_: object) -> bytes:
    raise AssertionError("the CA is asked for nothing: the chain is there")
