"""What is told of a failure's cause, and of who has to act."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from knit import errors
from knit.core.imported import HOW, IMPORTED
from knit.core.why import BRINGER, CAUSES, TO_BE_LOOKED_AT, why
from knit.errors import IssuerDown, KnitError, class_of
from tests.unit.cli.test_listed import CERT, NOW

# Where a certificate's attempt never ends with one.
NEVER = {"KnitError", "Interrupted", "LeaseLost", "UnsafePublish", "Elsewhere", "NoSuchCertificate", "ForeignValkey"}


def kinds(root: type[KnitError]) -> Iterator[type[KnitError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_every_kind_of_error_that_ends_an_attempt_has_a_cause_and_somebody_who_acts() -> None:
    found = {kind.__name__ for kind in kinds(KnitError) if kind.__module__ == errors.__name__}
    assert len(found) > 20
    assert found - NEVER == set(CAUSES)


def test_a_package_s_own_kind_of_error_counts_as_what_it_is_a_kind_of() -> None:
    class Silent(IssuerDown):
        pass

    assert class_of(Silent("no answer")) == "IssuerDown"
    assert class_of(IssuerDown("no answer")) == "IssuerDown"
    assert class_of(KeyError("x")) == "KeyError"


def test_whoever_has_an_imported_certificate_acts_while_it_is_imported_and_not_for_other_troubles() -> None:
    lost = replace(CERT, issuer=IMPORTED, directory=IMPORTED, published_at=NOW, last_error=f"lost: {HOW} again")
    assert (why(lost, (), NOW).cause, why(lost, (), NOW).who) == ("import", BRINGER)
    assert why(replace(lost, issuer="acme"), (), NOW).cause != "import"
    assert why(replace(lost, last_error="its key is in the way"), (), NOW).who != BRINGER


def test_a_failure_before_any_attempt_has_its_own_class() -> None:
    refused = replace(CERT, last_error="no", failures=1, refusal_class="Misconfigured")
    assert why(refused, (), NOW).cause == "configuration"
    assert why(replace(refused, refusal_class=None), (), NOW).cause == "unexpected"


def test_what_the_next_pass_looks_at_is_said_and_what_waits_has_its_time() -> None:
    calm = replace(CERT, published_at=NOW, check_at=NOW + timedelta(days=1))
    assert (why(calm, (), NOW).said, why(calm, (), NOW).next_try) == (None, calm.check_at)
    for one in (replace(calm, changed=True), replace(calm, check_at=NOW), replace(calm, check_at=None)):
        found = why(one, (), NOW)
        assert (found.state, found.said, found.next_try) == ("published", TO_BE_LOOKED_AT, None)
