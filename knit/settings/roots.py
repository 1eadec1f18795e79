"""Which roots vouch for a CA's own web server, told from others without making sense of them."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from knit.settings.environment import Environment

SYSTEM = "system"
"""Those of each machine's system."""

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def told(own: str | None, env: Environment) -> str | None:
    """A hash of the certificates in this file, else in those that lego reads; None where none can be read here.

    Their order, and what stands between them, makes no difference.
    """
    files = tuple(filter(None, env.get("LEGO_CA_CERTIFICATES", "").split(":"))) if own is None else (own,)
    if not files:
        return SYSTEM
    try:
        found = {b"".join(block.split()) for path in files for block in PEM.findall(Path(path).read_bytes())}
    except (OSError, ValueError):
        return None
    return sha256(b"\n".join(sorted(found))).hexdigest() if found else None
