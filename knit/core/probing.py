"""Which name a server is asked for when it is looked at."""

from __future__ import annotations

from ipaddress import ip_address

LABEL = "knit-probe"
"""In place of a wildcard: any label would do, and this one explains itself in the log of a server."""


def server_name(name: str | None) -> str | None:
    """What to say as SNI for a certificate with this name.

    A wildcard stands for exactly one label, and no client asks for a wildcard itself. SNI has no addresses (RFC 6066
    section 3).
    """
    if name is None or _is_address(name):
        return None
    return f"{LABEL}{name[1:]}" if name.startswith("*.") else name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
