"""Account keys at rest: what is sealed opens as it was, with its key and in its place only."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from knit.errors import Misconfigured
from knit.store.accounts.sealing import AccountRef, Seal, key_id, sealed_by

KEYS = some.binary(min_size=32, max_size=32)
WORDS = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
PLACES = some.builds(AccountRef, WORDS, WORDS)
TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=4000)
PLACE = AccountRef("acme", "https://ca.example/dir")
KEY, OTHER = b"k" * 32, b"o" * 32


@given(key=KEYS, others=some.lists(KEYS, max_size=3), place=PLACES, text=TEXTS)
def test_what_is_sealed_opens_with_its_key_among_others(
    key: bytes, others: list[bytes], place: AccountRef, text: str
) -> None:
    kept = Seal((key, *others)).close(text, place)
    assert kept.startswith(f"sealed:v1:{key_id(key)}:")
    assert len(text) < 10 or text not in kept
    assert Seal((*others, key)).open(kept, place) == text
    assert sealed_by(kept) == key_id(key)


@given(text=some.text("ab", min_size=1), place=PLACES, other=PLACES)
def test_a_row_that_was_moved_is_refused(text: str, place: AccountRef, other: AccountRef) -> None:
    assume(place != other)
    seal = Seal((KEY,))
    with pytest.raises(Misconfigured, match="another issuer or directory"):
        seal.open(seal.close(text, place), other)


@given(at=some.integers(min_value=0), bit=some.integers(0, 7))
def test_an_altered_bit_is_refused(at: int, bit: int) -> None:
    seal = Seal((KEY,))
    head, _, encoded = seal.close("the key", PLACE).rpartition(":")
    sealed = bytearray(b64decode(encoded))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(Misconfigured, match="altered"):
        seal.open(f"{head}:{b64encode(sealed).decode()}", PLACE)


@pytest.mark.parametrize("rest", ["", "x", "é", "AAAA", "=", f"{'A' * 16}"])
def test_what_was_cut_off_is_refused(rest: str) -> None:
    with pytest.raises(Misconfigured, match="altered"):
        Seal((KEY,)).open(f"sealed:v1:{key_id(KEY)}:{rest}", PLACE)


@pytest.mark.parametrize(
    ("keys", "said"), [((), "KNIT_SECRET_KEY is not set"), ((OTHER,), "KNIT_SECRET_KEY does not hold")]
)
def test_without_its_key_one_sentence_names_it(keys: tuple[bytes, ...], said: str) -> None:
    kept = Seal((KEY,)).close("PEM-CANARY", PLACE)
    with pytest.raises(Misconfigured) as refused:
        Seal(keys).open(kept, PLACE)
    assert said in str(refused.value)
    assert key_id(KEY) in str(refused.value)
    assert "CANARY" not in str(refused.value)


def test_the_form_of_a_later_knit_is_told() -> None:
    with pytest.raises(Misconfigured, match="use a newer one"):
        Seal((KEY,)).open(f"sealed:v2:{key_id(KEY)}:AAAA", PLACE)


def test_without_keys_nothing_is_sealed_and_what_is_clear_is_read() -> None:
    assert Seal().close("clear", PLACE) == "clear"
    assert Seal((KEY,)).open("clear", PLACE) == "clear"
    assert sealed_by("clear") is None


def test_the_same_key_never_looks_the_same() -> None:
    seal = Seal((KEY,))
    assert len({seal.close("the key", PLACE) for _ in range(100)}) == 100


def test_no_key_is_shown() -> None:
    assert "kkk" not in repr(Seal((KEY,)))
