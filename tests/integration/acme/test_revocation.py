"""Certificates taken back: by the account that ordered them, and by their own keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from knit.core.model.certificate import Bundle
from knit.errors import IssuerDown, Refused
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
    ours.issuer.revoke_bundle(Bundle(fullchain=bundle.fullchain, privkey=b""), "superseded")
    assert revoked(ca) == 1


def test_what_is_revoked_already_is_done_and_revoked_once(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    for _ in range(2):
        ours.issuer.revoke_bundle(bundle, "keyCompromise")
    assert revoked(ca) == 1
    assert ca.counts()["requests"]["revokeCert"] == 2


def test_another_accounts_certificate_is_revoked_by_its_own_key(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(Worker(ca, Memory()))
    ours.issuer.revoke_bundle(bundle, "unspecified")
    assert revoked(ca) == 1
    # The next request is our account's again.
    ours.issuer.revoke_bundle(bundle_of(ours), "superseded")
    assert revoked(ca) == 2


def test_an_account_that_cannot_be_used_is_not_needed(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(Worker(ca, Memory()))
    ca.fault("newAccount", status=403, type="unauthorized", detail="no more accounts")
    ours.issuer.revoke_bundle(bundle, "keyCompromise")
    assert revoked(ca) == 1


def test_neither_account_nor_key_is_refused_in_the_cas_words(ca: ScriptedCA, ours: Worker) -> None:
    foreign = bundle_of(Worker(ca, Memory()))
    key = Wanted(names=(NAME,)).privkey
    with pytest.raises(Refused, match="by the certificate's key, the CA says: neither the account nor the key"):
        ours.issuer.revoke_bundle(Bundle(fullchain=foreign.fullchain, privkey=key), "keyCompromise")
    with pytest.raises(Refused, match="key is missing"):
        ours.issuer.revoke_bundle(Bundle(fullchain=foreign.fullchain, privkey=b""), "keyCompromise")
    assert revoked(ca) == 0


def test_a_reason_that_the_ca_will_not_have_is_told_and_nothing_else_is_tried(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", status=400, type="badRevocationReason", detail="not that one")
    with pytest.raises(Refused, match=r"not that one \(badRevocationReason\)"):
        ours.issuer.revoke_bundle(bundle, "affiliationChanged")
    assert ca.counts()["requests"]["revokeCert"] == 1


def test_a_ca_that_stumbles_is_asked_again_and_one_that_is_down_says_so(ca: ScriptedCA, ours: Worker) -> None:
    bundle = bundle_of(ours)
    ca.fault("revokeCert", status=503)
    ours.issuer.revoke_bundle(bundle, "superseded")
    assert revoked(ca) == 1
    second = bundle_of(ours)
    ca.fault("revokeCert", status=503, times=50)
    with pytest.raises(IssuerDown):
        ours.issuer.revoke_bundle(second, "superseded")
