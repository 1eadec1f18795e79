"""Names as certificates carry them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.names import a_labels, covered, key_of, normalise, normalise_one, split, subtree, u_labels
from knit.errors import Misconfigured


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Example.ORG", "example.org"),
        (" example.org. ", "example.org"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("*.straße.example", "*.xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-1.b.c.example", "a-1.b.c.example"),
    ],
)
def test_a_name_becomes_its_lower_case_a_label_form(typed: str, name: str) -> None:
    assert normalise_one(typed) == name


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "empty label"),
        ("a..org", "empty label"),
        (".example.org", "empty label"),
        ("example.org..", "empty label"),
        ("localhost", "two labels"),
        ("*.org", "two labels"),
        ("*", "wildcard"),
        ("a.*.org", "wildcard"),
        ("*a.example.org", "wildcard"),
        ("*.*.example.org", "wildcard"),
        ("-a.example.org", "hyphens"),
        ("a-.example.org", "hyphens"),
        ("a_b.example.org", "hyphens"),
        ("a b.example.org", "hyphens"),
        ("a/b.example.org", "hyphens"),
        ("192.0.2.1", "an IP address is proved over HTTP or TLS"),
        ("2001:db8::1", "an IP address is proved over HTTP or TLS"),
        ("[2001:db8::1]", "an IP address is proved over HTTP or TLS"),
        ("*.192.0.2.1", "an IP address is proved over HTTP or TLS"),
        (f"{'a' * 64}.example.org", "longer than 63"),
        (f"{'a.' * 118}org", "longer than 237"),
        ("☃.example", "international"),
        ("ü_.example", "international"),
    ],
)
def test_what_is_no_host_name_is_refused_by_name(typed: str, why: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        normalise_one(typed)
    assert repr(typed) in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "tree"),
    [("internal", "internal"), ("Int.Example.", "int.example"), ("bücher.example", "xn--bcher-kva.example")],
)
def test_what_stands_for_all_below_it_may_have_one_label(typed: str, tree: str) -> None:
    assert subtree(typed) == tree


@pytest.mark.parametrize("typed", ["*.internal", ".internal", "", "192.0.2.1", "a b"])
def test_what_cannot_stand_for_names_is_refused(typed: str) -> None:
    with pytest.raises(Misconfigured):
        subtree(typed)


def test_duplicates_go_and_the_first_name_stays_first() -> None:
    assert normalise(["b.example", "A.example", "B.example."]) == ("b.example", "a.example")


def test_a_list_without_names_is_refused() -> None:
    with pytest.raises(Misconfigured, match="at least one"):
        split(" , ")


def test_a_comma_list_is_taken_apart_as_the_original_did() -> None:
    assert split("b.example, a.example,") == ("b.example", "a.example")


LABELS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
NAMES = st.builds(
    lambda wild, labels: ("*." if wild else "") + ".".join([*labels, "org"]),
    st.booleans(),
    st.lists(LABELS, min_size=1, max_size=4),
)


@given(NAMES)
def test_normalising_twice_is_normalising_once(name: str) -> None:
    assert normalise_one(normalise_one(name)) == normalise_one(name)


@given(st.lists(NAMES, min_size=1, max_size=6), st.randoms())
def test_the_key_of_a_set_knows_neither_order_nor_case_nor_repetition(names: list[str], random: object) -> None:
    shuffled = sorted([*names, *(name.upper() for name in names)], key=lambda _: random.random())  # type: ignore[attr-defined]
    assert key_of(normalise(names)) == key_of(normalise(shuffled))


@given(st.text(max_size=80))
def test_any_text_is_either_a_name_or_refused(text: str) -> None:
    try:
        name = normalise_one(text)
    except Misconfigured:
        return
    assert name.isascii()
    assert name == name.lower()
    assert "," not in name


@pytest.mark.parametrize(
    ("names", "both"),
    [
        (("a.example.org", "*.example.org"), ("a.example.org", "*.example.org")),
        (("*.example.org", "example.org", "b.example.org"), ("b.example.org", "*.example.org")),
        (("example.org", "*.example.org"), None),
        (("a.b.example.org", "*.example.org"), None),
        (("*.b.example.org", "*.example.org"), None),
        (("*.example.org",), None),
        (("a.example.org", "b.example.org"), None),
    ],
)
def test_a_wildcard_covers_one_label(names: tuple[str, ...], both: tuple[str, str] | None) -> None:
    assert covered(names) == both


@pytest.mark.parametrize(
    ("letters", "ascii_form"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("_acme-challenge.bücher.example", "_acme-challenge.xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例.例え", "xn--fsq.xn--r8jz45g"),
        ("💩.la", "xn--ls8h.la"),
        ("plain-9.example", "plain-9.example"),
        ("*.example.org", "*.example.org"),
        ("", ""),
    ],
)
def test_a_name_that_an_api_shows_in_letters_is_known_again(letters: str, ascii_form: str) -> None:
    assert a_labels(letters) == ascii_form
    assert u_labels(ascii_form) == letters


@pytest.mark.parametrize("odd", ["xn--", "xn--a-ecp.example", "xn--\u00fc", "XN--BCHER-KVA.example", "a..b", "\ud800"])
def test_what_is_no_name_breaks_nothing(odd: str) -> None:
    assert isinstance(a_labels(u_labels(odd)), str)
    assert isinstance(u_labels(a_labels(odd)), str)
