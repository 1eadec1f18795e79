"""The registered domain of a name: the part below a public suffix, by which CAs count and queues are fair."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


def registered(name: str) -> str:
    """The registered domain of a normalised name or wildcard; the name itself where it is a public suffix.

    By the Public Suffix List as the library brings it, both parts of it, as Let's Encrypt does. A suffix that is not
    listed (a network's own) is its last label.
    """
    base = name.removeprefix("*.")
    return _list().privatesuffix(base) or base


def of_names(names: Iterable[str]) -> tuple[str, ...]:
    """The registered domains of a certificate's names, each once, sorted."""
    return tuple(sorted({registered(name) for name in names}))


@cache
def _list() -> PublicSuffixList:
    # Takes 40 ms, which most commands and every node do without.
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
