"""Certificates taken back: by the account that ordered them, and by their own keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from knit.core.model.account import Account
from knit.core.model.certificate import Bundle
from knit.errors import AccountLimited, IssuerDown, Misconfigured, Refused
from rig.scripted_ca import ScriptedCA
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, Worker

NAME = "knit.example"

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def ours(ca: ScriptedCA) -> Iterator[Worker]:
    ca.reset()
    worker = Worker(ca, Memory())
    yield worker
    worker.issuer.close()


def bundle_of(worker: Worker) -> Bundle:
    wanted = Wanted(names=(NAME,))
    return Bundle(fullchain=worker.issue(wanted, Notes(), TrustingProver()), privkey=wanted.privkey)


def revoked(ca: ScriptedCA) -> int:
    count: int = ca.counts()["names"][NAME].get("revoked", 0)
    return count


def test_the_account_revokes_what_it_ordered_without_the_certificates_key(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    ours.issuer.revoke("", "superseded", Bundle(fullchain=bundle.fullchain, privkey=b""))
    assert revoked(ca) == 1


def test_what_is_revoked_already_is_done_and_revoked_once(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    for _ in range(2):
        ours.issuer.revoke("", "keyCompromise", bundle)
    assert revoked(ca) == 1
    assert ca.counts()["requests"]["revokeCert"] == 2


def test_another_accounts_certificate_is_revoked_by_its_own_key(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(Worker(ca, Memory()))
    ours.issuer.revoke("", "unspecified", bundle)
    assert revoked(ca) == 1
    # The next request is our account's again.
    ours.issuer.revoke("", "superseded", bundle_of(ours))
    assert revoked(ca) == 2


def test_no_account_is_registered_only_to_revoke(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(Worker(ca, Memory()))
    ours.issuer.revoke("", "keyCompromise", bundle)
    assert revoked(ca) == 1
    assert ca.counts()["requests"]["newAccount"] == 1, "that of whoever ordered it"


class Sealed(Memory):
    """Accounts whose keys are sealed with another key than ours."""

    def get(self, directory: str, issuer: str) -> Account | None:
        raise Misconfigured("KNIT_SECRET_KEY: the account's key is sealed with another key")


def test_an_account_that_cannot_be_used_is_not_needed(ca: ScriptedCA, ours: Worker) -> None:
    memory = Memory()
    forgotten = Worker(ca, memory)
    for lost in (Worker(ca, Sealed()), forgotten):
        bundle = bundle_of(forgotten)
        account = memory.kept[ca.directory_url, "acme"]
        memory.save(replace(account, uri=f"{account.uri}-gone"))
        with closing(lost.issuer):
            lost.issuer.revoke("", "keyCompromise", bundle)
        memory.save(account)
    assert revoked(ca) == 2


def test_neither_account_nor_key_is_refused_in_the_cas_words(ca: ScriptedCA, ours: Worker) -> None:
    foreign = bundle_of(Worker(ca, Memory()))
    key = Wanted(names=(NAME,)).privkey
    with pytest.raises(Refused, match="by the certificate's key, the CA says: neither the account nor the key"):
        ours.issuer.revoke("", "keyCompromise", Bundle(fullchain=foreign.fullchain, privkey=key))
    with pytest.raises(Refused, match="key is missing"):
        ours.issuer.revoke("", "keyCompromise", Bundle(fullchain=foreign.fullchain, privkey=b""))
    assert revoked(ca) == 0


def test_a_reason_that_the_ca_will_not_have_is_told_and_nothing_else_is_tried(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", status=400, type="badRevocationReason", detail="not that one")
    with pytest.raises(Refused, match=r"not that one \(badRevocationReason\)"):
        ours.issuer.revoke("", "affiliationChanged", bundle)
    assert ca.counts()["requests"]["revokeCert"] == 1


def test_an_unknown_reason_is_refused_before_the_ca_is_asked(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    with pytest.raises(Refused, match="reason 'certificateHold': must be one of unspecified, keyCompromise"):
        ours.issuer.revoke("", "certificateHold", bundle)
    assert "revokeCert" not in ca.counts()["requests"]


def test_what_the_ca_does_not_know_or_is_asked_too_often_about_is_told_in_its_words(
    ca: ScriptedCA, ours: Worker
) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", status=404, type="malformed", detail="no such certificate")
    with pytest.raises(Refused, match="no such certificate"):
        ours.issuer.revoke("", "superseded", bundle)
    ca.fault("revokeCert", status=429, type="rateLimited", detail="slower", headers={"Retry-After": "120"})
    with pytest.raises(AccountLimited, match="slower") as limited:
        ours.issuer.revoke("", "superseded", bundle)
    assert limited.value.retry_at is not None
    assert revoked(ca) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"act": "reset"},
        {"act": "reset", "when": "after"},
        {"act": "drip", "seconds": 1},
        {"status": 500},
        {"status": 400, "type": "badNonce", "times": 3},
    ],
)
def test_an_answer_that_is_lost_or_late_leaves_it_revoked_once(
    ca: ScriptedCA, ours: Worker, fault: dict[str, object]
) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", **fault)
    ours.issuer.revoke("", "superseded", bundle)
    assert revoked(ca) == 1


def test_a_ca_that_stumbles_is_asked_again_and_one_that_is_down_says_so(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", status=503)
    ours.issuer.revoke("", "superseded", bundle)
    assert revoked(ca) == 1
    second = bundle_of(ours)
    ca.fault("revokeCert", status=503, times=50)
    with pytest.raises(IssuerDown):
        ours.issuer.revoke("", "superseded", second)
