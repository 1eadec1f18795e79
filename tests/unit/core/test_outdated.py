"""When an open attempt is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knit.core.model.attempt import Attempt, AttemptId, Step
from knit.core.model.decision import CertState, Known, Reason
from knit.core.model.keys import KeyType
from knit.core.outdated import why_outdated
from tests.unit.core.test_renewal import BOTH, NOW, OTHER, SPEC

ATTEMPT = Attempt(
    id=AttemptId(1),
    cert_id=SPEC.id,
    step=Step.ORDERED,
    reason=Reason.WINDOW,
    names=SPEC.names,
    provider=SPEC.provider,
    issuer="acme",
    directory=BOTH.issuers[0].directory,
    key_type=KeyType.EC256,
    profile=None,
    started_at=NOW,
)
AT_OTHER = {"issuer": "other", "directory": OTHER.directory, "key_type": KeyType.RSA2048, "profile": "short"}


@pytest.mark.parametrize(
    ("wanted", "attempt", "kept"),
    [
        ({}, {}, True),
        ({}, {"issuer": "renamed"}, True),
        ({"issuer": "other,acme"}, {}, True),
        ({"issuer": "acme,other"}, AT_OTHER, True),
        ({"issuer": "other"}, AT_OTHER, True),
        ({"issuer": "other"}, {}, False),
        ({}, AT_OTHER, False),
        ({"issuer": "other"}, AT_OTHER | {"key_type": KeyType.EC256}, False),
        ({"issuer": "other"}, AT_OTHER | {"profile": None}, False),
        ({"issuer": "unknown"}, {}, True),
        ({"names": ("a.example",)}, {}, False),
        ({"preferred_chain": "X2"}, {}, False),
        ({"preferred_chain": "X2"}, {"step": Step.FINALIZING}, True),
        ({"provider": "ovh"}, {}, False),
        ({"provider": "ovh"}, {"step": Step.FINALIZING}, True),
    ],
)
def test_an_attempt_is_kept_while_it_asks_one_of_the_issuers_for_what_is_wanted(
    wanted: dict[str, object], attempt: dict[str, object], kept: bool
) -> None:
    spec = replace(SPEC, **wanted)  # type: ignore[arg-type]
    known = Known(spec=spec, state=CertState(), leftovers=False, newest=None)
    assert (why_outdated(replace(ATTEMPT, **attempt), known, BOTH) is None) is kept  # type: ignore[arg-type]
