"""A certificate that a person brings: onto the list, and published like one that a CA has issued.

known      what is published is this very pair, and live: the entry is edited, and nothing published
begin      entry and attempt in one transaction; whatever was under way for it has ended
staging    the pair, where publication finds it
hand_over  from here on any process publishes it
publish    this one does
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from knit.core.brought import Brought
from knit.core.digest import pair_digest
from knit.core.model.attempt import AttemptId, Step
from knit.core.model.certificate import CertId
from knit.core.publication import readable
from knit.core.wanted import Change, Edited, Wanted
from knit.errors import Refused, Transient
from knit.flows.belonging import Belonging
from knit.flows.edit_list import EditList
from knit.flows.publish import Publish
from knit.ports.importing import Imports
from knit.ports.process import Sleep
from knit.ports.publication import Home, Publication
from knit.ports.staging import Staging

PLACES = frozenset({"valkey_key", "cert_path", "key_path"})
"""What of an entry is in its value."""

Decide = Callable[[Wanted | None], Wanted]

LOOKS = 20
"""Looks, a second apart, whether another process has published it: one that has died is waited for 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """The flow with its ports. Running it again after a death anywhere comes to the same."""

    store: Imports
    edit: EditList
    staging: Staging
    home: Home
    publication: Publication
    belonging: Belonging
    publish: Publish
    sleep: Sleep

    def run(self, brought: Brought, change: Change, cert_id: CertId | None = None) -> tuple[Edited, bool]:
        """Import the pair for this entry, or for the one with its names; gives whether anything had to be published.

        Raises Misconfigured for an entry that cannot be, Refused for a key that was declared compromised and for what
        could not be published, ForeignValkey, Outage.
        """
        if brought.leaf.spki_sha256 in self.home.compromised():
            raise Refused("its key was declared compromised, and is published never again: a new key is needed")
        self.belonging.check()
        which = brought.names if cert_id is None else cert_id
        decide = partial(self.edit.imported, change)
        sha256 = pair_digest(brought.bundle.fullchain, brought.bundle.privkey)
        if self._is_live(which, sha256):
            edited = self.edit.store.edit(which, decide, enable=True)
            if PLACES.isdisjoint(edited.differences):
                return edited, False
            self._bring(which, decide, brought, sha256)
            return edited, True
        return self._bring(which, decide, brought, sha256), True

    def _bring(self, which: CertId | Sequence[str], decide: Decide, brought: Brought, sha256: str) -> Edited:
        edited, attempt = self.store.begin(which, decide, brought)
        self.staging.put(attempt, brought.bundle)
        self.store.hand_over(attempt, brought, sha256)
        self._publish(attempt, edited.id)
        return edited

    def _is_live(self, which: CertId | Sequence[str], sha256: str) -> bool:
        known = self.store.imported(which)
        if known is None or known[1] != sha256:
            return False
        value = readable(self.publication.live([known[0]]).get(known[0], b""))
        return value is not None and value.sha256 == sha256

    def _publish(self, attempt: AttemptId, cert_id: CertId) -> None:
        """Another process may be at it already."""
        self.publish.waiting()
        for _ in range(LOOKS):
            if (ended := self.store.ended(attempt)) is not None:
                break
            self.sleep(1)
            self.publish.waiting()
        else:
            raise Transient(f"certificate {cert_id} is imported, and not published yet: `knit why {cert_id}` says why")
        step, error = ended
        if step is not Step.PUBLISHED:
            raise Refused(f"certificate {cert_id} is not published: {error}")
