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
    paths = filter(None, env.get("LEGO_CA_CERTIFICATES", "").split(":")) if own is None else (own,)
    files = [Path(path) for path in paths]
    if not files:
        return SYSTEM
    if not all(file.is_file() for file in files):
        return None  # A device may never end, and a pipe gives what it has once.
    try:
        found = {b"".join(block.split()) for file in files for block in PEM.findall(file.read_bytes())}
    except (OSError, ValueError):
        return None
    return sha256(b"\n".join(sorted(found))).hexdigest() if found else None
