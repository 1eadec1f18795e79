"""An account with an external binding, of which the CA answered and nobody heard."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from knit.core.model.account import Account
from knit.errors import AccountUnusable
from knit.issuers.acme import AccountOwner
from rig.scripted_ca import ScriptedCA
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, Worker

pytestmark = pytest.mark.usefixtures("soon")

OWNER = AccountOwner(email="ops@knit.example", eab_kid="kid", eab_hmac="A" * 43)
WANTED = Wanted(names=("knit.example",))


def unheard(ca: ScriptedCA, memory: Memory) -> Account:
    """The account, whose URL was not recorded: the process was killed before, or a person had it forgotten."""
    ca.script(eab={"kid": "A" * 43})
    Worker(ca, memory, OWNER).issue(WANTED, Notes(), TrustingProver())
    ((place, account),) = memory.kept.items()
    memory.kept[place] = replace(account, uri=None, registration="{}")
    return account


def test_an_account_that_is_bound_already_is_found_by_its_key(ca: ScriptedCA) -> None:
    memory = Memory()
    account = unheard(ca, memory)
    Worker(ca, memory, OWNER).issue(WANTED, Notes(), TrustingProver())
    assert list(memory.kept.values()) == [account]
    assert ca.counts()["totals"]["accounts"] == 1


def test_a_key_that_was_kept_and_never_registered_is(ca: ScriptedCA) -> None:
    memory = Memory()
    account = unheard(ca, memory)
    ca.forget()
    Worker(ca, memory, OWNER).issue(WANTED, Notes(), TrustingProver())
    (now,) = memory.kept.values()
    assert now.private_key == account.private_key
    assert now.uri not in (None, account.uri)


@pytest.mark.parametrize("status", ["deactivated", "revoked"])
def test_one_that_the_ca_has_an_objection_to_is_not_taken(ca: ScriptedCA, status: str) -> None:
    memory = Memory()
    unheard(ca, memory)
    ca.fault("newAccount", act="answer", when="after", body=json.dumps({"status": status}), times=0)
    with pytest.raises(AccountUnusable, match=f"the CA calls it {status}: .*knit account forget"):
        Worker(ca, memory, OWNER).issue(WANTED, Notes(), TrustingProver())
    assert [account.uri for account in memory.kept.values()] == [None]
