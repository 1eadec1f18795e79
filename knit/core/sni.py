"""Which certificate answers a client that asks for a name (SNI, RFC 6066 section 3).

The exact name first, then a wildcard of exactly one label, then the default. Dates play no role: a server whose
certificate has expired is better found with it than with one for other names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def normalised(name: str) -> str:
    """Without space around it and without one dot at the end, in lower case."""
    return name.strip().removesuffix(".").lower()


class Choice(Generic[T]):
    """Certificates by their names; where two have one name, the earlier has it.

    `default`: a name whose certificate answers where no other does; None: the first certificate of all.
    """

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]], default: str | None = None) -> None:
        self._by_name: dict[str, T] = {}
        self._first: T | None = None
        self.contested: list[tuple[str, T]] = []
        """Names that an earlier entry has, each with the later one."""
        for names, item in entries:
            self._first = item if self._first is None else self._first
            for name in dict.fromkeys(map(normalised, names)):
                self._claim(name, item)
        found = None if default is None else self._named(normalised(default))
        self._default = self._first if found is None else found

    def of(self, name: str | None) -> T | None:
        """The one for this name, or the default; None when there is none at all."""
        found = None if name is None else self._named(normalised(name))
        return self._default if found is None else found

    def has(self, name: str) -> bool:
        """Whether there is one for this name."""
        return self._named(normalised(name)) is not None

    def _claim(self, name: str, item: T) -> None:
        if name and self._by_name.setdefault(name, item) is not item:
            self.contested.append((name, item))

    def _named(self, name: str) -> T | None:
        exact = self._by_name.get(name)
        label, _, rest = name.partition(".")
        return self._by_name.get(f"*.{rest}") if exact is None and label and rest else exact
