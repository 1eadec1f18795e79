"""An order that may be a certificate is never given up for what is wrong around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from knit.core.model import CertId, Failed, Renewed
from knit.errors import Outage
from knit.settings.environment import Environment
from tests.acceptance.scene import Servers
from tests.integration.test_flows import Life, Stage
from tests.rig.knot import Knot
from tests.rig.scripted_ca.client import ScriptedCA
from tests.rig.valkey import Valkey

HTML = {"act": "answer", "status": 404, "content_type": "text/html", "body": "<html>not here</html>", "times": 0}


pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def ca(knot: Knot) -> Iterator[ScriptedCA]:
    with ScriptedCA(dns_server=knot.address, default={"validation": "dns"}) as ca:
        yield ca


@pytest.fixture
def stage(ca: ScriptedCA, knot: Knot, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Stage:
    valkey.flush()
    servers = Servers(ca=ca, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
    return Stage(servers, Environment({**servers.settings(), "KNIT_QUEUE_URL": ""}))


def tried(stage: Stage, cert_id: CertId) -> Any:
    """One try, whatever was said about waiting."""
    stage.sql("update knit_attempts set retry_at = null where cert_id = %s", cert_id)
    stage.sql("update knit_schedule set retry_at = null where cert_id = %s", cert_id)
    with stage.process(Life()) as flows:
        return flows.renew.run(cert_id)


def wait_of(stage: Stage, cert_id: CertId) -> float:
    """Seconds to the next try."""
    ((seconds,),) = stage.sql(
        "select extract(epoch from retry_at - now()) from knit_attempts where cert_id = %s and ended_at is null",
        cert_id,
    )
    return float(seconds)


@pytest.mark.parametrize("kind", ["certificate", "order"])
def test_an_order_whose_certificate_is_not_to_be_had_is_asked_about_on_the_ladder_and_got_in_the_end(
    stage: Stage, ca: ScriptedCA, kind: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(processing_polls=1)
    ca.fault(kind, **HTML)
    waits = []
    for _ in range(3):
        assert isinstance(tried(stage, cert_id), Failed)
        waits.append(wait_of(stage, cert_id))
    assert all(0.7 < wait / step < 1.3 for wait, step in zip(waits, (60, 600, 6000), strict=True))
    ca.clear_faults()
    assert isinstance(tried(stage, cert_id), Renewed)
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


def test_a_ca_that_does_not_know_the_account_for_a_while_costs_no_certificate(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    ca.fault("order", status=400, type="accountDoesNotExist")
    assert isinstance(tried(stage, cert_id), Failed)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1


@pytest.mark.parametrize("variant", ["missing_san", "other_key", "expired", "from_root", "with_private_key"])
def test_a_bundle_that_is_refused_is_kept_and_never_ordered_again_for_it(
    stage: Stage, ca: ScriptedCA, variant: str
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate=variant, validation="dns")
    tries = [tried(stage, cert_id) for _ in range(6)]
    assert all(isinstance(failed, Failed) for failed in tries)
    assert "renew --force" in tries[-1].error or variant == "with_private_key"
    counted = ca.counts_of(name)
    assert (counted["orders"], counted["finalized"]) == (1, 1)


def test_a_bare_leaf_is_accepted_once_the_root_that_signed_it_is_named(
    stage: Stage, ca: ScriptedCA, tmp_path: Any
) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate="from_root", validation="dns")
    failed = tried(stage, cert_id)
    assert isinstance(failed, Failed)
    assert "Scripted Root X1" in failed.error
    assert "KNIT_ACME_CA_FILE" in failed.error
    # It was kept: the CA is not needed any more.
    ca.fault("certificate", **HTML)
    roots = tmp_path / "roots.pem"
    roots.write_text(ca.ca_file.read_text() + ca.roots()[0])
    trusting = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_CA_FILE": str(roots)}))
    assert isinstance(tried(trusting, cert_id), Renewed)
    assert ca.counts_of(name)["finalized"] == 1
    with trusting.process(Life()) as flows, closing(stage.servers.valkey.client()) as client:
        assert flows.publish.waiting().published == (cert_id,)
        assert str(client.get(name)).count("BEGIN CERTIFICATE") == 1


def test_another_certificate_can_be_asked_for_in_place_of_one_that_is_refused(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.behave(certificate="missing_san", validation="dns")
    tried(stage, cert_id)
    ca.behave(certificate="good", validation="dns")
    stage.sql("update knit_certs set requested_at = now() where id = %s", cert_id)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["finalized"] == 2


def test_a_dns_provider_that_is_no_longer_set_up_costs_no_order_that_is_finalized(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    stage.sql("update knit_certs set provider = 'desec' where id = %s", cert_id)
    stage.sql("update knit_certs set seen = wanted where id = %s", cert_id)
    stage.sql("update knit_attempts set provider = 'desec' where cert_id = %s", cert_id)
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1


def test_a_refusal_of_the_staging_valkey_costs_no_order_that_is_finalized(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.fault("certificate", **HTML)
    tried(stage, cert_id)
    ca.clear_faults()
    with closing(stage.servers.valkey.client()) as client:
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(Outage, match="OOM"):
                tried(stage, cert_id)
        finally:
            client.config_set("maxmemory", "0")
    assert isinstance(tried(stage, cert_id), Renewed)
    assert ca.counts_of(name)["orders"] == 1
