"""The list of what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from knit.core.model.certificate import CertId
from knit.core.wanted import Edited, Wanted


class CertList(Protocol):
    """The list of what is wanted, as whoever edits it sees it."""

    def edit(self, which: CertId | Sequence[str], decide: Callable[[Wanted | None], Wanted], *, enable: bool) -> Edited:
        """Find the entry by its id or its exact set of names, ask `decide` what it shall be, and store that.

        Nobody else edits the list meanwhile. `decide` gets None when no entry has these names; one is made then.
        Raises what `decide` raises, Misconfigured when names, key or files belong to another certificate, and
        NoSuchCertificate for an id that is not there; nothing is changed then.
        """
