"""The hash by which publisher and node tell whether a pair has changed; the same as the Go knit's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def pair_digest(fullchain: bytes, privkey: bytes) -> str:
    """Lower-case hex SHA-256 over the chain's length (8 bytes, big-endian, unsigned), the chain and the key.

    The length keeps a byte from moving over the border between the two unnoticed.
    """
    return contents_digest((privkey, fullchain))


def contents_digest(contents: Sequence[bytes]) -> str:
    """Lower-case hex SHA-256 over contents in any number, the key's first; of (key, chain) it is `pair_digest`.

    Hashed are the others in their order, each behind its length as in `pair_digest`, and then the key.
    """
    first, *others = contents
    digest = hashlib.sha256()
    for content in others:
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    digest.update(first)
    return digest.hexdigest()
