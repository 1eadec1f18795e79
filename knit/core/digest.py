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
    """The same for files in any number: of key and chain, in this order, it is the pair's.

    The first comes last, and each of the others behind its own length.
    """
    first, *others = contents
    digest = hashlib.sha256()
    for content in others:
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    digest.update(first)
    return digest.hexdigest()
