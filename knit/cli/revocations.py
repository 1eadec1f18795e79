"""Revocations, as lines for people and as records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knit.cli.output import clean, instant

if TYPE_CHECKING:
    from knit.core.model.revocation import Revocation


def record(one: Revocation) -> dict[str, object]:
    """For `--json`."""
    wanted = one.state == "wanted"
    return {
        "serial": one.serial,
        "fingerprint": one.fingerprint,
        "issuer": one.issuer,
        "directory": one.directory,
        "reason": one.reason,
        "replace": one.replace,
        "state": one.state.value,
        "waits": one.waits,
        "asked_at": one.asked_at,
        "asked_by": one.asked_by,
        "ended_at": one.ended_at,
        "error": one.error,
        "next_try": one.next_try_at if wanted and one.error is not None else None,
    }


def words(one: Revocation) -> str:
    """How far it is, in one sentence."""
    about = f"serial {one.serial}, {one.reason}"
    if one.state == "revoked":
        return f"revoked at {instant(one.ended_at)} ({about})"
    if one.state == "refused":
        return f"not revoked ({about}), asked for at {instant(one.asked_at)}: {clean(one.error or '')}"
    if one.waits:
        return f"to be revoked ({about}) once another certificate is published in its place"
    if one.error is not None:
        return f"to be revoked ({about}); next try {instant(one.next_try_at)}: {clean(one.error)}"
    return f"to be revoked ({about}): workers ask its CA"
