"""The DNS providers there are, for whoever names one."""

from __future__ import annotations

from collections.abc import Sequence

from knit.ports.services import Service
from knit.providers import catalog
from knit.providers.registry import split

__all__ = ["service", "services", "split"]


def services() -> Sequence[Service]:
    """One for each code, sorted; aliases are part of theirs."""
    return catalog.services()


def service(name: str) -> Service:
    """The one that serves a code, an alias or an account of it. Raises Misconfigured for a code nobody knows."""
    return catalog.service(name)
