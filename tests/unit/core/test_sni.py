"""The choice by name, against an oracle that looks at every name in turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.sni import Choice, normalised

LABELS = st.sampled_from(["a", "b", "www", "A", "example", "test", "*", ""])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ODD = st.builds(
    lambda before, name, after: before + name + after,
    st.sampled_from(["", " ", "\t"]),
    NAMES,
    st.sampled_from(["", ".", ". ", " ", ".."]),
)
ENTRIES = st.lists(st.lists(NAMES, max_size=4), max_size=6)


def plain(name: str) -> str:
    name = name.strip()
    return name.removesuffix(".").lower()


def covers(wildcard: str, name: str) -> bool:
    """Whether `*` stands for exactly one label of this name."""
    ours, theirs = wildcard.split("."), name.split(".")
    return ours[0] == "*" and len(ours) == len(theirs) > 1 and ours[1:] == theirs[1:] and theirs[0] != ""


def oracle(entries: list[list[str]], default: str | None, asked: str | None) -> int | None:
    def named(name: str) -> int | None:
        every = [(plain(one), number) for number, names in enumerate(entries) for one in names]
        exact = [number for one, number in every if one == name and one != ""]
        wild = [number for one, number in every if covers(one, name) and one.removeprefix("*.") != ""]
        return next(iter([*exact, *wild]), None)

    found = None if asked is None else named(plain(asked))
    if found is None and default is not None:
        found = named(plain(default))
    return found if found is not None else (0 if entries else None)


@given(entries=ENTRIES, default=st.none() | ODD, asked=st.none() | ODD)
def test_the_choice_is_that_of_the_oracle(entries: list[list[str]], default: str | None, asked: str | None) -> None:
    choice = Choice(((names, number) for number, names in enumerate(entries)), default)
    assert choice.of(asked) == oracle(entries, default, asked)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("www.example.com", "exact"),
        (" WWW.Example.COM. ", "exact"),
        ("a.example.com", "wildcard"),
        ("a.b.example.com", "main"),
        ("example.com", "main"),
        (".example.com", "main"),
        ("www.example.com..", "main"),
        ("", "main"),
        (None, "main"),
    ],
)
def test_exact_names_come_before_wildcards_of_one_label_and_those_before_the_default(
    asked: str | None, answered: str
) -> None:
    entries = [(["*.example.com"], "wildcard"), (["www.example.com"], "exact"), (["main.test"], "main")]
    assert Choice(entries, "main.test").of(asked) == answered


def test_a_name_that_two_have_is_the_first_ones_and_the_other_is_told() -> None:
    choice = Choice([(["a.test", "b.test"], 1), (["B.test.", "b.test"], 2)])
    assert (choice.of("b.test"), choice.contested) == (1, [("b.test", 2)])


def test_a_default_that_nothing_has_leaves_the_first() -> None:
    choice = Choice([(["a.test"], 1), (["b.test"], 2)], "c.test")
    assert (choice.of("d.test"), choice.has("c.test"), choice.has("b.test")) == (1, False, True)


def test_without_certificates_there_is_no_answer() -> None:
    nothing: Choice[int] = Choice([], "a.test")
    assert nothing.of("a.test") is None


def test_a_name_is_trimmed_before_its_dot_is_cut() -> None:
    assert normalised("\tA.Test. ") == "a.test"
