"""Changing what can only be replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from knit.errors import Unreachable
from knit.providers.rewrite import rewrite


def _with_ours(values: tuple[str, ...]) -> tuple[str, ...]:
    return values if "ours" in values else (*values, "ours")


def test_a_change_that_shows_already_is_not_written() -> None:
    written: list[tuple[str, ...]] = []
    rewrite("name", lambda _: None, lambda: ("theirs", "ours"), _with_ours, written.append)
    assert written == []


def test_a_change_that_another_writer_undid_is_made_again_beside_theirs() -> None:
    shown: Iterator[tuple[str, ...]] = iter([(), ("theirs",), ("theirs", "ours")])
    written: list[tuple[str, ...]] = []
    rewrite("name", lambda _: None, lambda: next(shown), _with_ours, written.append)
    assert written == [("ours",), ("theirs", "ours")]


def test_a_change_that_never_stays_is_unreachable_and_named() -> None:
    slept: list[float] = []
    with pytest.raises(Unreachable, match="the name"):
        rewrite("the name", slept.append, tuple[str, ...], _with_ours, lambda _: None)
    assert slept == [1.0, 4.0]
