"""Why an attempt that is open is given up: it asks for something else than is wanted now."""

from __future__ import annotations

from knit.core import retry
from knit.core.model.attempt import BEFORE_FINALIZE, Attempt, Step
from knit.core.model.certificate import CertSpec
from knit.core.model.decision import Known, Rules


def why_outdated(attempt: Attempt, known: Known, rules: Rules) -> str | None:
    """Why an attempt is outdated; None while it answers what is wanted."""
    spec = known.spec
    if spec is None or not spec.enabled or not _answers(attempt, spec, rules):
        return "what is wanted has changed"
    enough = 1 if known.refused else len(retry.LADDER)
    if attempt.step is Step.FINALIZING and known.tries >= enough and _asked_since(attempt, spec):
        return "another certificate was asked for"
    return None


def _answers(attempt: Attempt, spec: CertSpec, rules: Rules) -> bool:
    """How names are proved, and of which chain the certificate is to be, matters only until it may be issued."""
    asked = rules.asked(spec, attempt.directory)
    if asked is None:
        return not rules.terms_of(spec) and sorted(attempt.names) == sorted(spec.names)
    early = attempt.step in BEFORE_FINALIZE
    if early and (attempt.provider, attempt.preferred_chain) != (spec.provider, asked.preferred_chain):
        return False
    wanted = (sorted(spec.names), asked.key_type, asked.profile)
    return (sorted(attempt.names), attempt.key_type, attempt.profile) == wanted


def _asked_since(attempt: Attempt, spec: CertSpec) -> bool:
    return spec.requested_at is not None and spec.requested_at >= attempt.started_at
