"""What text from outside may look like once it is kept, logged or shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.text import ascii_only, clean, escaped, json_safe

ANY = st.text(alphabet=st.characters(), max_size=200)
NASTY = [
    "\x1b[31mred\x1b[0m",
    "two\nlines\r\nand\x85more\u2028",
    "\u202egnol\u2066",
    "half \ud800 of it",
    "nothing \0 there",
    "\x9b2J",
    "\ue000\U000e0041",
]


@given(ANY, st.integers(min_value=1, max_value=300))
def test_clean_text_is_one_printable_line_that_is_not_too_long(text: str, longest: int) -> None:
    shown = clean(text, longest)
    assert shown.isprintable()
    assert len(shown) <= longest
    shown.encode()


def test_what_was_cut_says_so() -> None:
    assert clean("a" * 9_000_000) == "a" * 1999 + "…"
    assert clean("ab " * 3, 5) == "ab a…"


@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_acts_is_left_in_any_form(text: str) -> None:
    for shown in (clean(text), escaped(text), json_safe(json.dumps(text, ensure_ascii=False)), ascii_only(clean(text))):
        assert shown.isprintable()


@given(ANY)
def test_json_stays_the_same_to_a_parser(text: str) -> None:
    assert json.loads(json_safe(json.dumps(text, ensure_ascii=False))) == text


def test_typographic_signs_become_typed_ones() -> None:
    assert ascii_only("the CA says: “no” \u2013 it\u2019s over…") == 'the CA says: "no" - it\'s over...'
