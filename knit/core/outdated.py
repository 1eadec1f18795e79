"""Why an attempt that is open is given up: it asks for something else than is wanted now."""

from __future__ import annotations

from knit.core import retry
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt, Step
from knit.core.model.certificate import CertSpec
from knit.core.model.decision import Known, Rules


def why_outdated(attempt: Attempt, known: Known, rules: Rules) -> str | None:
    """None while it answers what is wanted."""
    spec = known.spec
    if spec is None or not spec.enabled or not _answers(attempt, spec, rules):
        return "what is wanted has changed"
    enough = 1 if known.refused else len(retry.LADDER)
    if attempt.step is Step.FINALIZING and known.tries >= enough and _asked_since(attempt, spec):
        return "another certificate was asked for"
    return None


def _answers(attempt: Attempt, spec: CertSpec, rules: Rules) -> bool:
    """How names are proved matters only until they are."""
    if attempt.provider != spec.provider and attempt.step in BEFORE_FINALIZE:
        return False
    asked = (sorted(attempt.names), attempt.issuer, attempt.directory, attempt.key_type, attempt.profile)
    terms = rules.terms(spec.issuer)
    directory = attempt.directory if terms is None else terms.directory
    return asked == (sorted(spec.names), spec.issuer, directory, spec.key_type, spec.profile)


def _asked_since(attempt: Attempt, spec: CertSpec) -> bool:
    return spec.requested_at is not None and spec.requested_at >= attempt.started_at
