"""Published values that are lost: what counts as one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum

from knit.core.model.certificate import Issued
from knit.core.value import Value


class LiveValue(StrEnum):
    """What a live value is, beside what is recorded. The texts are for the log."""

    RECORDED = "as recorded"
    NEWER = "newer than recorded: taken as it is"
    OLDER = "an older value came back"
    COMPROMISED = "its key was declared compromised"
    DAMAGED = "it is no certificate of these names that could be served"

    @property
    def lost(self) -> bool:
        """Whether the certificate must be issued anew."""
        return self in {LiveValue.OLDER, LiveValue.COMPROMISED, LiveValue.DAMAGED}


def judge(value: Value, spki_sha256: str, recorded: Issued, compromised: AbstractSet[str], now: datetime) -> LiveValue:
    """What a sound value is that is live at the key where `recorded` was published.

    One without a generation is another publisher's (the Go knit): there only the dates tell which is newer.
    """
    if value.sha256 == recorded.sha256:
        facts = (value.cert_path, value.key_path, value.not_after)
        same = facts == (recorded.cert_path, recorded.key_path, recorded.not_after)
        return LiveValue.RECORDED if same else LiveValue.NEWER
    if spki_sha256 in compromised:
        return LiveValue.COMPROMISED
    generation = value.generation_by(now)
    if generation is None:
        return LiveValue.NEWER if value.not_after > recorded.not_after else LiveValue.OLDER
    return LiveValue.NEWER if generation > recorded.generation else LiveValue.OLDER
