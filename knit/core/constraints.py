"""For which names a CA may issue: the name constraints of its certificates (RFC 5280 section 4.2.1.10), and our lists.

A name is within `example.org` when it is that name or ends with it after a dot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtrees:
    """What one certificate, or one list, allows. `permitted` None: every name that is not excluded.

    `source` is who says so, for a sentence. A subtree that begins with a dot leaves the name itself out.
    """

    source: str
    permitted: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()

    def refusal(self, name: str) -> str | None:
        """Why this name (lower case; perhaps a wildcard) is not allowed."""
        for tree in self.excluded:
            if is_within(name, tree) or _may_be(name, tree):
                return f"{name} is excluded by {self.source} (as {tree or 'every name'})"
        if self.permitted is None or any(is_within(name, tree) for tree in self.permitted):
            return None
        allowed = ", ".join(self.permitted) or "no names"
        return f"{name} is not permitted by {self.source}, which permits {allowed}"

    def covers(self, tree: str) -> bool:
        """Whether all of this subtree is permitted, as far as it is not excluded."""
        return self.permitted is None or any(is_within(tree, one) for one in self.permitted)


def refusal(names: Iterable[str], limits: Iterable[Subtrees]) -> str | None:
    """Why not all of these names may be issued for; None when all may."""
    every = tuple(limits)
    return next((why for name in names for one in every if (why := one.refusal(name)) is not None), None)


def is_within(name: str, tree: str) -> bool:
    """Whether the name, or all that a wildcard stands for, lies in the subtree. An empty one holds every name."""
    if tree.startswith("."):
        return name.endswith(tree)
    return not tree or name == tree or name.endswith(f".{tree}")


def _may_be(name: str, tree: str) -> bool:
    """Whether a wildcard also stands for a name of this subtree."""
    return name.startswith("*.") and tree.lstrip(".").partition(".")[2] == name[2:]
