"""A CA that knows the account no more: one sentence says what to do, and that mends it."""

from __future__ import annotations

import pytest

from knit.core.model.attempt import Failed, Renewed
from rig.installation import Installation
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage, tried

__all__ = ["ca", "stage"]

pytestmark = pytest.mark.usefixtures("soon")


@pytest.mark.parametrize("words", [(), ("--new-key",)])
def test_the_sentence_names_the_command_and_the_command_mends_it(
    stage: Stage, ca: ScriptedCA, words: tuple[str, ...]
) -> None:
    first, second = stage.wanted(2)
    with stage.process(Life()) as running:
        assert isinstance(running.renew.run(first), Renewed)
        ca.forget()
        failed = running.renew.run(second)
        assert isinstance(failed, Failed)
        assert "lost the account" in failed.error
        assert "`knit account forget`" in failed.error
        with Installation(settings=stage.servers.settings()) as knit:
            done = knit.knit("account", "forget", "--json", *words)
        assert (done.code, done.json["due"]) == (0, 1)
        assert second in running.reconcile.run().renew
        assert isinstance(running.renew.run(second), Renewed)


@pytest.mark.parametrize("words", [(), ("--new-key",)])
def test_an_order_of_the_lost_account_is_replaced_even_when_it_was_finalized(
    stage: Stage, ca: ScriptedCA, words: tuple[str, ...]
) -> None:
    (cert_id,) = stage.wanted(1)
    ca.fault("certificate", act="answer", status=404, body="<html>", times=0)
    assert isinstance(tried(stage, cert_id), Failed)
    ca.clear_faults()
    ca.forget()
    failed = tried(stage, cert_id)
    assert isinstance(failed, Failed)
    assert "`knit account forget`" in failed.error
    with Installation(settings=stage.servers.settings()) as knit:
        assert knit.knit("account", "forget", *words).code == 0
    assert isinstance(tried(stage, cert_id), Renewed)


def test_an_account_forgotten_by_mistake_is_the_same_again(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    before = stage.sql("select uri, private_key from knit_accounts")
    with Installation(settings=stage.servers.settings()) as knit:
        assert "is forgotten" in knit.knit("account", "forget").out
    assert isinstance(tried(stage, second), Renewed)
    assert stage.sql("select uri, private_key from knit_accounts") == before


def test_without_an_account_there_is_nothing_to_forget(stage: Stage) -> None:
    with Installation(settings=stage.servers.settings()) as knit:
        assert knit.knit("account", "forget").code == 1
