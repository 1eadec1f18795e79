"""Every code a user may name, and what serves it: for `knit providers` and docs/providers.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from knit.providers.base import Provider, Values
from knit.providers.lego.table import table
from knit.providers.registry import ALIASES, DROPPED, MODULES, provider, split


class Driver(StrEnum):
    """What serves a code."""

    NATIVE = "knit"
    LEGO = "lego"
    NONE = "not served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One code. `provider` is None, and `reason` says why, where nothing serves it."""

    code: str
    title: str
    driver: Driver
    aliases: tuple[str, ...] = ()
    provider: Provider | None = None
    reason: str = ""

    def set_names(self, settings: Mapping[str, str], account: str = "") -> tuple[str, ...]:
        """Which of its variables have a value: names only, an account's own ones before those it shares."""
        return () if self.provider is None else Values(settings, account).set_names(self.provider.settings)


def services() -> tuple[Service, ...]:
    """One for each code, sorted; aliases are part of theirs."""
    return tuple(_service(code) for code in sorted({*MODULES, *table(), *DROPPED}))


def service(name: str) -> Service:
    """The one that serves a code, an alias or an account of it; Misconfigured for a code nobody knows."""
    return _service(name) if name in DROPPED else _service(split(name)[0])


def _service(code: str) -> Service:
    if code in DROPPED:
        title = table()[code].name if code in table() else code
        return Service(code=code, title=title, driver=Driver.NONE, reason=DROPPED[code])
    found = provider(code)
    return Service(
        code=code,
        title=found.title,
        driver=Driver.NATIVE if code in MODULES else Driver.LEGO,
        aliases=tuple(_aliases(code)),
        provider=found,
    )


def _aliases(code: str) -> Iterator[str]:
    return (alias for alias, target in sorted(ALIASES.items()) if target == code)
