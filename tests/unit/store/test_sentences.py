"""Texts that statements compare with what Postgres has stored are those that the code writes there.

A partial index and old rows hold them too: to word one anew takes a migration.
"""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from knit import errors
from knit.core.model.decision import Reason
from knit.core.why import HELD_BACK
from knit.store.list.adoption import LEFT_OUT

TEXT = r"'((?:[^']|'')*)'"
REASON = re.compile(rf"\breason = {TEXT}")
CLASSES = re.compile(r"\berror_class (?:=|<>|in) (\('[^)]*\)|'\w+')")
SHOWN = re.compile(rf"\blast_error like {TEXT}")


def _sql(folder: Traversable) -> str:
    parts = (_sql(one) if one.is_dir() else one.read_text() for one in folder.iterdir() if _has_sql(one))
    return "\n".join(parts)


def _has_sql(one: Traversable) -> bool:
    return one.is_dir() or one.name.endswith(".sql")


STATEMENTS = _sql(files("knit.store"))


def test_each_reason_that_a_statement_or_an_index_asks_for_is_one_that_attempts_are_begun_for() -> None:
    asked = {text.replace("''", "'") for text in REASON.findall(STATEMENTS)}
    assert {Reason.ARI.value, Reason.NOT_PUBLISHED.value} <= asked <= {one.value for one in Reason}


def test_each_class_of_error_that_a_statement_asks_for_is_one_of_the_tree() -> None:
    asked = set(re.findall(r"\w+", " ".join(CLASSES.findall(STATEMENTS))))
    assert {"OrderLost", "BundleMismatch"} <= asked
    assert asked <= set(vars(errors))


def test_the_beginnings_of_errors_that_a_statement_asks_for_are_those_that_are_written() -> None:
    asked = {text.replace("%%", "%") for text in SHOWN.findall(STATEMENTS)}
    assert asked == {f"{LEFT_OUT}%", f"%: {HELD_BACK} %"}
