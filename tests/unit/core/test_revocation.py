"""What a wish to revoke a certificate comes to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from knit.core import ca_signing
from knit.core.model.certificate import CertId
from knit.core.model.revocation import Copy, Revocation, RevocationId, Revoked
from knit.core.revocation import REASONS, Course, Standing, Wish, course
from knit.errors import Refused
from knit.issuers.acme import revoking

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STANDING = Standing(
    cert_id=CertId(7),
    enabled=True,
    left_out=None,
    step=None,
    serial="abc",
    not_after=NOW + timedelta(days=60),
    published=True,
    kind="acme",
    former=None,
)
FORMER = Revocation(
    id=RevocationId(1),
    cert_id=CertId(7),
    names_key="a.example",
    serial="abc",
    fingerprint=None,
    issuer="acme",
    directory="https://ca",
    valkey_key="a",
    not_after=NOW + timedelta(days=60),
    reason="superseded",
    replace=True,
    asked_at=NOW,
    asked_by="x",
    state=Revoked.WANTED,
    copy=Copy.KEPT,
    tries=0,
    next_try_at=NOW,
    error=None,
    ended_at=None,
)


def found(wish: Wish, **more: Any) -> Course | None:
    return course(replace(STANDING, **more), wish, NOW)


def certain(wish: Wish, **more: Any) -> Course:
    one = found(wish, **more)
    assert one is not None
    return one


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_another_one_comes_first_where_one_is_wanted_and_nothing_is_ordered_where_operation_ceases(
    reason: str, enabled: bool, asked: bool | None
) -> None:
    wish = Wish(reason=reason, replace=asked)
    if asked and not enabled:
        with pytest.raises(Refused, match="is disabled, so nothing is ordered for it"):
            found(wish, enabled=enabled)
        return
    one = certain(wish, enabled=enabled)
    assert one.replace is (enabled and reason != "cessationOfOperation" if asked is None else asked)
    assert one.renew is one.replace
    assert one.disable is (enabled and reason == "cessationOfOperation" and not one.replace)
    assert one.compromise is (reason == "keyCompromise")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"serial": None}, "nothing was ever issued"),
        ({"not_after": NOW}, "it expired at 2026-03-01T00:00:00Z"),
        ({"kind": "selfsigned"}, "its issuer signs for trials"),
        ({"kind": "imported"}, "it is imported"),
        ({"step": "publishing"}, "another one is being published"),
        ({"published": False}, "gone from the certificate Valkey"),
        ({"left_out": "left out: another has its key"}, "is left out: another has its key"),
        ({"past": True}, "--replace is for what is published now"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(more: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=f"certificate 7.*{words}"):
        found(Wish(reason="superseded", replace=True), **more)


def test_a_ca_of_our_own_needs_no_value_and_an_imported_one_needs_a_name() -> None:
    assert not certain(Wish(reason="superseded", replace=False), kind="ca", published=False).replace
    named = Wish(reason="superseded", issuer="other", directory="https://other")
    one = certain(named, kind="imported")
    assert (one.replace, one.issuer, one.directory) == (False, "other", "https://other")
    assert certain(replace(named, replace=True), kind="imported").renew is False, "a person brings the next"
    with pytest.raises(Refused, match="--issuer is for imported certificates"):
        found(named)


def test_what_takes_its_place_already_is_not_asked_for_again() -> None:
    assert certain(Wish(reason="superseded"), step="issued").renew is False
    assert certain(Wish(reason="keyCompromise"), step="issued").renew is True, "its key goes with the others"
    assert certain(Wish(reason="superseded"), step="ordered").renew is True, "and is what answers it"


def test_a_second_wish_changes_the_first_and_never_takes_a_compromise_back() -> None:
    assert certain(Wish(reason="unspecified"), former=FORMER).reason == "unspecified"
    worse = certain(Wish(reason="keyCompromise"), former=FORMER)
    assert (worse.reason, worse.compromise) == ("keyCompromise", True)
    declared = replace(FORMER, reason="keyCompromise")
    assert certain(Wish(reason="superseded"), former=declared).reason == "keyCompromise"
    assert certain(Wish(reason="keyCompromise"), former=declared).compromise is False


def test_what_is_revoked_is_done_but_for_a_key_that_turns_out_to_be_in_other_hands() -> None:
    done = replace(FORMER, state=Revoked.REVOKED)
    assert found(Wish(reason="superseded"), former=done) is None
    assert found(Wish(reason="unspecified"), former=done, serial="abc", published=False) is None
    assert certain(Wish(reason="keyCompromise"), former=done).compromise
    assert found(Wish(reason="keyCompromise"), former=replace(done, reason="keyCompromise")) is None


def test_of_a_past_one_no_other_key_of_its_certificate_is_declared_compromised() -> None:
    refused = replace(FORMER, state=Revoked.REFUSED)
    one = certain(Wish(reason="keyCompromise"), former=refused, past=True, enabled=False)
    assert (one.compromise, one.replace, one.disable) == (False, False, False)


def test_every_issuer_knows_every_reason() -> None:
    assert set(REASONS) == set(revoking.REASONS) == set(ca_signing.REASONS)
