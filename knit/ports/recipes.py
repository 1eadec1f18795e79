"""What a node's machine adds to a place of the node file: ids of owners and groups, passwords of key stores."""

from __future__ import annotations

from typing import Protocol

from knit.core.model.places import Place
from knit.core.outputs import Recipe


class Recipes(Protocol):
    """One for each place; it is another one once a password has changed."""

    def of(self, place: Place) -> Recipe:
        """What this place makes of a certificate. Raises Transient for a password that cannot be used."""
