from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.digest import pair_digest


@pytest.mark.parametrize(
    ("fullchain", "privkey", "digest"),
    [
        (b"CERT", b"KEY", "e0a5f4bef2c1c34e9518130fe688ed2f23c75b14ee050a4334554f993ba64181"),
        (b"", b"", "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"),
        (b"FULLCHAIN-PEM", b"PRIVKEY-PEM", "67913ed7c3c78817653c183dbf015de7e7fead1255599ff245af0a77cab88388"),
    ],
)
def test_the_hash_is_the_original_s(fullchain: bytes, privkey: bytes, digest: str) -> None:
    assert pair_digest(fullchain, privkey) == digest


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_a_byte_that_moves_from_chain_to_key_changes_the_hash(fullchain: bytes, privkey: bytes) -> None:
    assert pair_digest(fullchain[:-1], fullchain[-1:] + privkey) != pair_digest(fullchain, privkey)
    assert pair_digest(privkey, fullchain) != pair_digest(fullchain, privkey) or fullchain == privkey
