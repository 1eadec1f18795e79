"""Messages that the pages of operations explain are ones that the program has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from knit.core.events import Kind

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "operations"
QUOTED = re.compile(r"`([^`]+)`")
JOINED = re.compile(r'"\s*\n\s*f?"')
OF_THE_CA = {"caa", "unauthorized"}
"""Words of the CA's own, which the program passes on."""


def source() -> str:
    """All of the program, texts that go over several lines in one piece."""
    files = (path for folder in ("knit", "workers", "scheduler") for path in (ROOT / folder).rglob("*.py"))
    return JOINED.sub("", "\n".join(path.read_text() for path in files))


def messages(page: str) -> list[str]:
    """What stands in the first column of the tables of a page: the fixed parts, `…` stands for what differs."""
    rows = re.findall(r"^\| (`.*?) \|", (PAGES / page).read_text(), re.MULTILINE)
    quoted = (text for row in rows for text in QUOTED.findall(row))
    parts = (part.strip(" :;,()?") for text in quoted for part in re.split("…|KNIT_…", text))
    return [part for part in parts if len(part) > 2 and part not in OF_THE_CA]


@pytest.fixture(scope="module")
def program() -> str:
    return source()


def test_every_error_that_is_explained_is_one_of_the_program(program: str) -> None:
    explained = messages("errors.md")
    assert len(explained) > 60
    assert [part for part in explained if part not in program] == []


def test_every_line_of_the_log_that_is_explained_is_one_of_the_program(program: str) -> None:
    text = (PAGES / "monitoring.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (?:warning|error)", text, re.MULTILINE)
    told = [line.partition(",")[0] for row in rows for line in QUOTED.findall(row)]
    assert len(told) > 15
    assert [line for line in told if line not in program] == []


def test_every_kind_of_event_is_on_the_page() -> None:
    text = (PAGES / "monitoring.md").read_text()
    assert [kind.value for kind in Kind if f"`{kind.value}`" not in text] == []
