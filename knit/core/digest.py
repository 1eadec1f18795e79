"""The hash by which publisher and node tell whether a pair has changed; the same as the Go knit's."""

from __future__ import annotations

import hashlib


def pair_digest(fullchain: bytes, privkey: bytes) -> str:
    """Lower-case hex SHA-256 over the chain's length (8 bytes, big-endian, unsigned), the chain and the key.

    The length keeps a byte from moving over the border between the two unnoticed.
    """
    digest = hashlib.sha256(len(fullchain).to_bytes(8, "big"))
    digest.update(fullchain)
    digest.update(privkey)
    return digest.hexdigest()
