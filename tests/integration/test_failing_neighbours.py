"""Certificates that keep failing never delay the others."""

from __future__ import annotations

from contextlib import closing

import pytest

from rig.installation import Installation
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Stage
from tests.integration.test_kept_orders import ca, stage

__all__ = ["ca", "stage"]

FORTY, THREADS = 40, 4


@pytest.mark.timeout(180)
@pytest.mark.parametrize("failing", ["a validation that takes for ever", "an order that is never done"])
def test_forty_that_fail_hold_up_none_of_those_that_have_not_failed(stage: Stage, ca: ScriptedCA, failing: str) -> None:
    wanted = stage.wanted(FORTY + 8)
    bad, good = list(wanted)[:FORTY], list(wanted)[FORTY:]
    slow = {"validation": "never"} if "validation" in failing else {"processing_polls": 100_000}
    ca.behave_for(*(wanted[cert_id] for cert_id in bad), **slow)
    stage.sql("update knit_schedule set failures = 2, check_at = '-infinity' where cert_id = any(%s)", bad)
    stage.sql("update knit_schedule set check_at = '-infinity' where cert_id = any(%s)", good)
    settings = {**stage.servers.settings(), "KNIT_RENEW_CONCURRENCY": str(THREADS)}
    with Installation(settings=settings) as knit, closing(stage.servers.valkey.client()) as client:
        for process in ("worker-control", "worker-renew", "scheduler"):
            knit.start(process)
        keys = [wanted[cert_id] for cert_id in good]
        wait_until(lambda: client.exists(*keys) == len(keys), "those that do not fail are published", seconds=90)
        begun = stage.sql("select count(distinct cert_id) from knit_attempts where cert_id = any(%s)", bad)
    ((tried,),) = begun
    assert tried <= THREADS // 4 + 1, "those that fail have a quarter of the threads"
