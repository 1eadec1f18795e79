"""Proofs of control of names outlive their order only where they are meant to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from knit.core.model.attempt import Renewed
from knit.issuers.acme import AcmeIssuer
from knit.issuers.acme.authorizations import deactivate
from knit.issuers.acme.session import Session
from knit.issuers.acme.wire import Order
from knit.settings.environment import Environment
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


def not_again(*_: object) -> bytes:
    raise AssertionError("the CA is asked for nothing: the chain is there")
