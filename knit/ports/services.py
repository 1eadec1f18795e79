"""What DNS providers say of themselves to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Variable(Protocol):
    """One setting of a provider. `names` are tried in order, the first is the main one; the rest are old spellings."""

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def help(self) -> str: ...
    @property
    def default(self) -> str | None: ...
    @property
    def secret(self) -> bool: ...


class Described(Protocol):
    """A provider that is served. Of `required`, the variables of one set at least must have values."""

    @property
    def url(self) -> str: ...
    @property
    def rights(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def settings(self) -> Sequence[Variable]: ...
    @property
    def required(self) -> Sequence[Sequence[Variable]]: ...


class Service(Protocol):
    """One code that users may name. `provider` is None, and `reason` says why, where nothing serves it."""

    @property
    def code(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def driver(self) -> str: ...
    @property
    def aliases(self) -> Sequence[str]: ...
    @property
    def provider(self) -> Described | None: ...
    @property
    def reason(self) -> str: ...

    def set_names(self, settings: Mapping[str, str], account: str = "") -> Sequence[str]:
        """Which of its variables have a value: names only, an account's own ones before those it shares."""
