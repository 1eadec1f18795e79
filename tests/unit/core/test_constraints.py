"""For which names a CA may issue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.constraints import Subtrees, refusal

LABELS = st.text("abc", min_size=1, max_size=2)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def allowed(name: str, permitted: tuple[str, ...] | None = None, excluded: tuple[str, ...] = ()) -> bool:
    return Subtrees(source="a list", permitted=permitted, excluded=excluded).refusal(name) is None


@pytest.mark.parametrize(
    ("name", "permitted", "excluded", "may"),
    [
        ("example.org", ("example.org",), (), True),
        ("a.b.example.org", ("example.org",), (), True),
        ("*.example.org", ("example.org",), (), True),
        ("badexample.org", ("example.org",), (), False),
        ("org", ("example.org",), (), False),
        ("*.org", ("example.org",), (), False),
        ("example.org", (".example.org",), (), False),
        ("a.example.org", (".example.org",), (), True),
        ("b.test", ("a.test", "b.test"), (), True),
        ("anything", ("",), (), True),
        ("anything", (), (), False),
        ("anything", None, (), True),
        ("anything", None, ("",), False),
        ("x.example.org", None, ("example.org",), False),
        ("x.example.org", ("example.org",), ("x.example.org",), False),
        ("y.x.example.org", ("example.org",), ("x.example.org",), False),
        ("y.example.org", ("example.org",), ("x.example.org",), True),
        # The wildcard also stands for the excluded name.
        ("*.example.org", ("example.org",), ("x.example.org",), False),
        ("*.y.example.org", ("example.org",), ("x.example.org",), True),
    ],
)
def test_a_name_is_within_a_subtree_label_by_label(
    name: str, permitted: tuple[str, ...] | None, excluded: tuple[str, ...], may: bool
) -> None:
    assert allowed(name, permitted, excluded) is may


@given(NAMES, NAMES)
def test_a_name_is_permitted_exactly_when_its_last_labels_are_the_subtree(name: str, tree: str) -> None:
    ends = name.split(".")[-len(tree.split(".")) :] == tree.split(".")
    assert allowed(name, (tree,)) is ends
    assert allowed(name, None, (tree,)) is not ends


@given(NAMES, st.lists(NAMES, max_size=3), LABELS)
def test_what_a_wildcard_stands_for_is_allowed_wherever_the_wildcard_is(
    base: str, excluded: list[str], label: str
) -> None:
    if allowed(f"*.{base}", ("a", "b"), tuple(excluded)):
        assert allowed(f"{label}.{base}", ("a", "b"), tuple(excluded))


def test_all_limits_bind_and_the_sentence_names_the_one_that_refuses() -> None:
    limits = (
        Subtrees(source="the root", permitted=("org",)),
        Subtrees(source="the file", permitted=("a.org", "b.test")),
    )
    assert refusal(["x.a.org"], limits) is None
    assert refusal(["x.a.org", "b.test"], limits) == "b.test is not permitted by the root, which permits org"
    assert refusal(["c.org"], limits) == "c.org is not permitted by the file, which permits a.org, b.test"
