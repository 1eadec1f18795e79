"""An account that is there: shown, given another key and killed at every step of that, ended, its contact followed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from knit.app import accounts as upkeep
from knit.app import issuing
from knit.app.accounts import Upkeep, open_upkeep
from knit.core.model.attempt import Failed, Renewed
from knit.errors import Busy, KnitError
from knit.issuers.acme.jws import Signer
from knit.settings.environment import Environment
from knit.settings.issuers import described
from knit.store.accounts.sealing import key_id
from knit.store.database import Database
from rig.knot import Knot
from rig.pebble import Pebble
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance.scene import Servers
from tests.integration.test_flows import KilledError, Life, Mortal, Stage
from tests.integration.test_kept_orders import ca, stage, tried
from tests.integration.test_sealed_accounts import NEW, at_shell, given

__all__ = ["ca", "stage"]

FAILED = 1


def row(stage: Stage) -> dict[str, Any]:
    columns = ("uri", "private_key", "next_key", "email", "deactivated_at")
    ((*values,),) = stage.sql(f"select {', '.join(columns)} from knit_accounts")
    return dict(zip(columns, values, strict=True))


@contextmanager
def upkeep_of(stage: Stage) -> Iterator[Upkeep]:
    with (
        Database.open(stage.servers.database) as database,
        open_upkeep(described(stage.environment).one("acme"), database, (), time.sleep) as found,
    ):
        yield found


@contextmanager
def mortal(stage: Stage, life: Life, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upkeep]:
    """One whose process dies at a call to PostgreSQL or to the CA."""
    true = issuing.where

    class Where:
        def __init__(self, *args: Any) -> None:
            self._where = true(*args)

        @contextmanager
        def reading(self) -> Iterator[tuple[Any, Any]]:
            with self._where.reading() as (network, directory):
                yield Mortal(network, life), directory

    with monkeypatch.context() as patched, upkeep_of(stage) as found:
        patched.setattr(upkeep, "where", Where)
        accounts: Any = Mortal(found.accounts, life)
        yield replace(found, accounts=accounts)


def known_as(ca: ScriptedCA) -> str:
    """Thumbprint of the only account's key, as the CA has it."""
    (account,) = ca.accounts()
    return str(account["thumbprint"])


def test_a_rotation_gives_the_account_another_key_and_workers_go_on_with_it(stage: Stage, ca: ScriptedCA) -> None:
    first, second, third = stage.wanted(3)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(first), Renewed)
        before, thumbprint = row(stage), known_as(ca)
        done = at_shell(stage, "rotate", "--json").json
        assert (done["result"], done["account"], done["thumbprint"]) == ("rotated", before["uri"], known_as(ca))
        assert known_as(ca) != thumbprint
        assert isinstance(flows.renew.run(second), Renewed)
    after = row(stage)
    assert (after["uri"], after["next_key"]) == (before["uri"], None)
    assert Signer(after["private_key"]).thumbprint == known_as(ca)
    assert isinstance(tried(stage, third), Renewed)
    assert stage.sql("select count(*) from knit_events where kind = 'account key changed'") == [(1,)]


def test_what_is_sealed_stays_sealed(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    tried(given(stage, NEW), first)
    ca.fault("keyChange", act="reset", times=0)
    ca.fault("account", act="reset", times=0)
    assert at_shell(given(stage, NEW), "rotate").code == FAILED
    kept = row(stage)
    assert kept["private_key"].startswith("sealed:v1:")
    assert kept["next_key"].startswith("sealed:v1:")
    ca.clear_faults()
    assert at_shell(given(stage, NEW), "rotate").code == 0
    assert row(stage)["private_key"] == kept["next_key"]
    assert isinstance(tried(given(stage, NEW), second), Renewed)


def test_both_keys_of_an_unfinished_rotation_are_sealed_by_command(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    ca.fault("keyChange", act="reset", when="after")
    ca.fault("account", act="reset", times=0)
    assert at_shell(stage, "rotate").code == FAILED
    assert "PRIVATE KEY" in row(stage)["next_key"]
    assert at_shell(given(stage, NEW), "seal", "--json").json["keys"][0]["result"] == "sealed"
    kept = row(stage)
    assert all(kept[name].startswith(f"sealed:v1:{key_id(NEW)}:") for name in ("private_key", "next_key"))
    assert at_shell(given(stage, NEW), "seal", "--json").json["keys"][0]["result"] == "sealed already"
    ca.clear_faults()
    assert isinstance(tried(given(stage, NEW), second), Renewed), "the CA has the next one already"
    assert (row(stage)["private_key"], row(stage)["next_key"]) == (kept["next_key"], None)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("goes_on", ["rotate", "renew"])
def test_a_rotation_killed_at_any_call_loses_no_account(
    stage: Stage, ca: ScriptedCA, goes_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = stage.wanted(1)
    tried(stage, first)
    whole = Life()
    with mortal(stage, whole, monkeypatch) as found:
        found.rotate()
    assert whole.calls >= 5
    uri, deaths = row(stage)["uri"], []
    for last, after in itertools.product(range(1, whole.calls + 1), (False, True)):
        life = Life(last=last, after=after)
        with mortal(stage, life, monkeypatch) as found, pytest.raises(KilledError):
            found.rotate()
        deaths.append(life.said)
        if goes_on == "renew":
            (cert_id,) = stage.wanted(1)
            assert isinstance(tried(stage, cert_id), Renewed), deaths
            assert Signer(row(stage)["private_key"]).thumbprint == known_as(ca)
        with upkeep_of(stage) as found:
            found.rotate()
        assert (row(stage)["uri"], row(stage)["next_key"]) == (uri, None)
        assert Signer(row(stage)["private_key"]).thumbprint == known_as(ca)
    assert {"prepare_key", "post_once", "change_key"} <= set(deaths)
    assert ca.counts()["totals"]["accounts"] == 1


@pytest.mark.parametrize(("when", "changed"), [("before", False), ("after", True)])
def test_an_answer_that_is_lost_is_found_out_from_the_ca(
    stage: Stage, ca: ScriptedCA, when: str, *, changed: bool
) -> None:
    (first,) = stage.wanted(1)
    tried(stage, first)
    thumbprint = known_as(ca)
    ca.fault("keyChange", act="reset", when=when)
    done = at_shell(stage, "rotate")
    assert (done.code == 0, known_as(ca) != thumbprint) == (changed, changed), done.err
    assert (row(stage)["next_key"] is None) is changed
    assert at_shell(stage, "rotate").code == 0
    assert row(stage)["next_key"] is None
    assert Signer(row(stage)["private_key"]).thumbprint == known_as(ca) != thumbprint


def test_the_old_key_is_kept_until_the_ca_takes_the_new_one_though_it_says_that_it_has(
    stage: Stage, ca: ScriptedCA
) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    before, thumbprint = row(stage), known_as(ca)
    ca.fault("keyChange", act="answer", status=200, body="{}")
    done = at_shell(stage, "rotate")
    assert (done.code, "does not know the account by it yet" in done.err) == (FAILED, True), done.err
    assert (row(stage)["private_key"], known_as(ca)) == (before["private_key"], thumbprint)
    assert isinstance(tried(stage, second), Renewed)
    again = at_shell(stage, "rotate", "--json")
    assert (again.code, again.json["thumbprint"]) == (0, known_as(ca)), again.err
    assert (row(stage)["next_key"], known_as(ca) != thumbprint) == (None, True)


@pytest.mark.parametrize("kind", ["newOrder", "authz", "challenge", "finalize", "order"])
def test_an_order_goes_on_with_the_new_key_when_that_comes_in_its_middle(
    stage: Stage, ca: ScriptedCA, kind: str
) -> None:
    first, second = stage.wanted(2)
    name = stage.sql("select domains from knit_certs where id = %s", second)[0][0]
    outcomes: list[Any] = []

    def renewal() -> None:
        with stage.process(Life()) as flows:
            try:
                outcomes.append(flows.renew.run(second))
            except KnitError as error:
                outcomes.append(error)

    tried(stage, first)
    ca.behave(processing_polls=1)
    ca.script(delays_ms={kind: 1500})
    seen = ca.counts()["requests"].get(kind, 0)
    thread = threading.Thread(target=renewal)
    thread.start()
    while ca.counts()["requests"].get(kind, 0) == seen:
        time.sleep(0.05)
    with upkeep_of(stage) as found:
        found.rotate()
    thread.join()
    ca.script(delays_ms={})
    assert isinstance(outcomes[0], Busy | Renewed), outcomes
    assert isinstance(outcomes[0], Renewed) or isinstance(tried(stage, second), Renewed)
    assert (ca.counts_of(name)["orders"], ca.counts_of(name)["finalized"]) == (1, 1)
    assert ca.counts()["totals"]["accounts"] == 1


def test_a_ca_that_changes_no_keys_is_told_of_in_one_sentence_and_nothing_is_prepared(
    stage: Stage, ca: ScriptedCA
) -> None:
    (first,) = stage.wanted(1)
    tried(stage, first)
    ca.script(changes_keys=False)
    done = at_shell(stage, "rotate")
    assert (done.code, "changes no keys of accounts" in done.err) == (FAILED, True)
    assert row(stage)["next_key"] is None


def test_an_account_that_is_forgotten_in_the_middle_of_a_rotation_is_found_by_its_new_key(
    stage: Stage, ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    with mortal(stage, Life(last=1000), monkeypatch) as found, monkeypatch.context() as patched:
        patched.setattr(found.accounts, "change_key", lambda _: pytest.fail("dead"), raising=False)
        with pytest.raises(pytest.fail.Exception):
            found.rotate()
    uri = row(stage)["uri"]
    assert at_shell(stage, "forget").code == 0
    assert isinstance(tried(stage, second), Renewed)
    assert (row(stage)["uri"], row(stage)["next_key"], len(ca.accounts())) == (uri, None, 1)


def test_an_account_is_shown_with_the_record_that_lets_it_alone_order(stage: Stage, ca: ScriptedCA) -> None:
    assert at_shell(stage, "show").code == FAILED, "there is none yet"
    (first,) = stage.wanted(1)
    tried(given(stage, NEW), first)
    ca.script(caa_identities=["ca.example"])
    shown = at_shell(given(stage, NEW), "show", "--json").json
    uri = row(stage)["uri"]
    assert (shown["account"], shown["status"], shown["objection"]) == (uri, "valid", None)
    assert (shown["contact"], shown["thumbprint"]) == (["mailto:ops@knit.example"], known_as(ca))
    assert shown["caa"] == [f"ca.example; accounturi={uri}; validationmethods=dns-01"]
    said = at_shell(given(stage, NEW), "show")
    assert (said.code, f'0 issue "ca.example; accounturi={uri}; validationmethods=dns-01"' in said.out) == (0, True)
    unopened = at_shell(stage, "show", "--json")
    assert (unopened.code, unopened.json["account"], unopened.json["thumbprint"]) == (FAILED, uri, None)
    assert "is sealed with key" in unopened.json["objection"]


def test_a_deactivated_account_stops_its_issuer_with_one_sentence(stage: Stage, ca: ScriptedCA) -> None:
    first, second, third = stage.wanted(3)
    tried(stage, first)
    asked = at_shell(stage, "deactivate")
    assert (asked.code, "--confirm" in asked.err, ca.accounts()[0]["status"]) == (2, True, "valid")
    assert at_shell(stage, "deactivate", "--confirm", "--json").json["result"] == "deactivated"
    assert ca.accounts()[0]["status"] == "deactivated"
    orders = ca.counts()["requests"]["newOrder"]
    failed = tried(stage, second)
    assert isinstance(failed, Failed)
    assert "was deactivated on" in failed.error
    assert "`knit account forget --issuer acme --new-key`" in failed.error
    assert ca.counts()["requests"]["newOrder"] == orders
    assert at_shell(stage, "deactivate", "--confirm").code == 0, "twice is once"
    assert at_shell(stage, "show", "--json").json["deactivated_at"] is not None
    same = at_shell(stage, "forget")
    assert (same.code, "add --new-key" in same.err) == (FAILED, True)
    assert at_shell(stage, "forget", "--new-key").code == 0
    assert isinstance(tried(stage, third), Renewed)
    assert len(ca.accounts()) == 2


def test_a_worker_that_runs_uses_no_account_that_is_being_ended_or_is_forgotten(stage: Stage, ca: ScriptedCA) -> None:
    first, second, third = stage.wanted(3)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(first), Renewed)
        ca.fault("account", act="reset", times=0)
        assert at_shell(stage, "deactivate", "--confirm").code == FAILED, "the CA does not know of it"
        failed = flows.renew.run(second)
        assert isinstance(failed, Failed)
        assert "was deactivated on" in failed.error
        ca.clear_faults()
        assert at_shell(stage, "forget", "--new-key").code == 0
        assert isinstance(flows.renew.run(third), Renewed)
    assert len(ca.accounts()) == 2
    assert row(stage)["uri"] is not None


def test_a_deactivation_that_the_ca_refuses_changes_nothing(stage: Stage, ca: ScriptedCA) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    ca.fault("account", status=400, type="malformed", detail="not here")
    assert at_shell(stage, "deactivate", "--confirm").code == FAILED
    assert row(stage)["deactivated_at"] is None
    assert isinstance(tried(stage, second), Renewed)


def test_a_refusal_of_an_account_that_the_ca_goes_on_showing_as_valid_is_no_end_of_it(
    stage: Stage, ca: ScriptedCA
) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    ca.fault("account", status=403, type="unauthorized", detail="not from there")
    done = at_shell(stage, "deactivate", "--confirm")
    assert (done.code, "not from there" in done.err) == (FAILED, True)
    assert row(stage)["deactivated_at"] is None
    assert isinstance(tried(stage, second), Renewed)


@pytest.mark.parametrize("status", ["deactivated", "revoked"])
def test_an_account_that_the_ca_has_ended_is_not_replaced_silently(stage: Stage, ca: ScriptedCA, status: str) -> None:
    first, second = stage.wanted(2)
    tried(stage, first)
    ca.set_accounts(status)
    failed = tried(stage, second)
    assert isinstance(failed, Failed)
    assert all(part in failed.error for part in (f"the account is {status}", "whoever runs knit", "--new-key"))
    assert len(ca.accounts()) == 1
    assert at_shell(stage, "show").code == FAILED


def test_another_contact_is_sent_once_and_recorded(stage: Stage, ca: ScriptedCA) -> None:
    first, second, third, fourth = stage.wanted(4)
    tried(stage, first)
    other = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_EMAIL": "new@knit.example"}))
    ca.fault("account", status=400, type="invalidContact")
    assert isinstance(tried(other, second), Renewed), "nothing fails for want of a contact"
    assert row(stage)["email"] == "ops@knit.example"
    assert isinstance(tried(other, second), object)
    assert isinstance(tried(other, third), Renewed)
    assert (row(stage)["email"], ca.accounts()[0]["contact"]) == ("new@knit.example", ["mailto:new@knit.example"])
    asked = ca.counts()["requests"]["account"]
    assert isinstance(tried(other, fourth), Renewed)
    assert ca.counts()["requests"]["account"] == asked
    assert stage.sql("select detail -> 'email' from knit_events where kind = 'account contact changed'") == [
        (["ops@knit.example", "new@knit.example"],)
    ]


def test_pebble_goes_along(
    knot: Knot, knot_pebble: Pebble, migrated_url: str, valkey: Valkey, queue_valkey: Valkey
) -> None:
    valkey.flush()
    servers = Servers(ca=knot_pebble, dns=knot, database=migrated_url, valkey=valkey, queue=queue_valkey)
    stage = Stage(servers, Environment({**servers.settings(), "KNIT_QUEUE_URL": ""}))
    first, second, third, fourth = stage.wanted(4)
    assert isinstance(tried(stage, first), Renewed)
    before = row(stage)
    assert at_shell(stage, "rotate").code == 0
    after = row(stage)
    assert (after["uri"], after["private_key"] != before["private_key"]) == (before["uri"], True)
    other = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_EMAIL": "new@knit.example"}))
    assert isinstance(tried(other, second), Renewed)
    shown = at_shell(stage, "show", "--json").json
    assert (shown["status"], shown["contact"]) == ("valid", ["mailto:new@knit.example"])
    # As after a death between the CA's answer and the swap.
    stage.sql("update knit_accounts set next_key = private_key, private_key = %s", before["private_key"])
    assert isinstance(tried(stage, third), Renewed)
    assert (row(stage)["private_key"], row(stage)["next_key"]) == (after["private_key"], None)
    assert at_shell(stage, "deactivate", "--confirm").code == 0
    stage.sql("update knit_accounts set deactivated_at = null")
    failed = tried(stage, fourth)
    assert isinstance(failed, Failed)
    assert "`knit account forget --issuer acme --new-key`" in failed.error


def test_two_processes_that_send_a_contact_at_once_do_no_harm(stage: Stage, ca: ScriptedCA) -> None:
    first, second, third = stage.wanted(3)
    tried(stage, first)
    other = replace(stage, environment=Environment({**stage.environment, "KNIT_ACME_EMAIL": "new@knit.example"}))
    ca.script(delays_ms={"account": 500})
    outcomes: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: outcomes.append(tried(other, one))) for one in (second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(outcome) for outcome in outcomes] == [Renewed, Renewed]
    assert row(stage)["email"] == "new@knit.example"
    assert stage.sql("select count(*) from knit_events where kind = 'account contact changed'") == [(1,)]
