"""Database and certificate Valkey belong together: made sure of before anything is decided, ordered or written."""

from __future__ import annotations

from dataclasses import dataclass

from knit.core import installation
from knit.core.events import Kind, Severity, Told
from knit.core.installation import Installation, Unmarked
from knit.errors import ForeignValkey
from knit.ports.events import Listener
from knit.ports.passes import Passes
from knit.ports.publication import Home, Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """The flow with its ports. `id` is this installation's."""

    id: str
    home: Home
    store: Passes
    publication: Publication
    tell: Listener

    def check(self) -> None:
        """Return when the Valkey is ours, or may be claimed and is by now; raise ForeignValkey otherwise.

        One round trip to Valkey where all is well.
        """
        found = self.publication.installation()
        if found == self.id:
            return
        place = self.publication.place
        if found is not None:
            installation.refuse(found, place)
        known = self.home.known()
        members = self.publication.survey().members
        explained = self.store.wanted_keys() | self.store.removals().keys
        valkey = Unmarked(place=place, index=members, explained=explained)
        installation.may_claim(known, valkey, publishes=self.home.publishes())
        self._claim(known)

    def note_revision(self, revision: int) -> bool:
        """Note how far the change feed is; gives whether it went back, as it does when an older Valkey was restored."""
        known = self.home.known()
        if (known.place, known.revision) != (self.publication.place, revision):
            self.home.settled(self.publication.place, revision)
        return revision < known.revision

    def take_over(self) -> str | None:
        """Make the Valkey ours whoever's it is, because a person said so; gives whose it was."""
        found = self.publication.installation()
        if not self.publication.claim(found):
            message = f"another installation has just taken the Valkey at {self.publication.place} over"
            raise ForeignValkey(message)
        self.home.settled(self.publication.place, self.publication.survey().revision)
        return found

    def _claim(self, known: Installation) -> None:
        if not self.publication.claim(None):
            message = f"another installation has just claimed the Valkey at {self.publication.place}"
            raise ForeignValkey(message)
        self.home.settled(self.publication.place, known.revision)
        detail = {"place": self.publication.place, "installation": self.id}
        if known.place is None:
            self.tell(Told(kind=Kind.VALKEY_CLAIMED, severity=Severity.NOTICE, detail=detail))
        else:
            again = {**detail, "reason": "it was emptied or restored"}
            self.tell(Told(kind=Kind.VALKEY_CLAIMED, severity=Severity.WARNING, detail=again))
