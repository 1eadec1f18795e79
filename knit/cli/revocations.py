"""Revocations, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knit.cli.output import clean, instant

if TYPE_CHECKING:
    from knit.core.model.revocation import Revocation


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
