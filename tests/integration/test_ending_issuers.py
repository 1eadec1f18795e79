"""A CA whose own certificate ends before those that it issues."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from knit.core.model.attempt import Skipped
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Life, Stage, whole_way
from tests.integration.test_kept_orders import ca, stage

__all__ = ["ca", "stage"]

pytestmark = pytest.mark.usefixtures("soon")

HELD = """
select round(extract(epoch from i.not_after - now()) / 86400), extract(epoch from s.check_at - now()) / 86400 < 7
from knit_issued i join knit_schedule s using (cert_id)
"""


def test_a_certificate_is_renewed_before_its_issuer_is_over_and_not_again_at_once(stage: Stage, ca: ScriptedCA) -> None:
    ((cert_id, name),) = stage.wanted(1).items()
    ca.script(offers_ari=False)
    ca.behave(certificate="issuer_ending", validation="dns")
    with stage.process(Life()) as flows:
        whole_way(flows, cert_id)
        assert cert_id not in flows.reconcile.run(deep=True).renew
        assert isinstance(flows.renew.run(cert_id), Skipped)
        flows.reconcile.run(deep=True)
    assert stage.sql(HELD) == [(10, True)]
    assert ca.counts_of(name)["finalized"] == 1
    with closing(stage.servers.valkey.client()) as client:
        value = json.loads(str(client.get(name)))
    assert stage.sql("select not_after = %s from knit_issued", value["not_after"]) == [(True,)]
