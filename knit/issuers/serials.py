"""Serial numbers of certificates that we issue ourselves."""

from __future__ import annotations

import secrets
from typing import Final

BITS: Final = 128


def new_serial() -> int:
    """128 random bits; never 0, which is no serial number (RFC 5280 section 4.1.2.2)."""
    return secrets.randbits(BITS) or 1
