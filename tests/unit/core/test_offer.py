"""What an issuer's offer means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knit.core.findings import Verdict
from knit.core.model.issuer import Terms
from knit.core.offer import CaOffer, judge

TERMS = Terms(name="a", directory="https://a.example/dir")
OFFER = CaOffer(
    terms_of_service="https://a.example/terms",
    wants_binding=False,
    bound=False,
    profiles=("classic", "short"),
    renewal_info=True,
    account="https://a.example/acct/1",
    status="valid",
)


@pytest.mark.parametrize(
    ("changes", "profile", "subject", "verdict", "said"),
    [
        ({}, None, "directory", "ok", TERMS.directory),
        ({}, None, "terms of service", "ok", "https://a.example/terms"),
        ({"terms_of_service": None}, None, "terms of service", "ok", "names none"),
        ({}, None, "account", "ok", "acct/1: valid"),
        ({"objection": "the CA calls it revoked"}, None, "account", "failed", "acct/1: the CA calls it revoked"),
        ({"account": None}, None, "account", "ok", "registered by the first order"),
        ({"account": None, "wants_binding": True}, None, "account", "failed", "a binding is needed"),
        ({"account": None, "wants_binding": True, "bound": True}, None, "account", "ok", "bound as configured"),
        ({"wants_binding": True}, None, "account", "ok", "valid"),
        ({}, None, "profiles", "ok", "offered: classic, short"),
        ({}, "short", "profiles", "ok", "offered: classic, short"),
        ({}, "tiny", "profiles", "failed", "'tiny' is configured; offered: classic, short"),
        ({"profiles": ()}, None, "profiles", "ok", "none is offered"),
        ({}, None, "renewal", "ok", "are suggested"),
        ({"renewal_info": False}, None, "renewal", "ok", "no renewal times"),
    ],
)
def test_each_question_has_its_finding(
    changes: dict[str, object], profile: str | None, subject: str, verdict: str, said: str
) -> None:
    findings = judge(replace(OFFER, **changes), replace(TERMS, profile=profile))  # type: ignore[arg-type]
    (found,) = (one for one in findings if one.subject == subject)
    assert found.verdict is Verdict(verdict)
    assert said in found.text
