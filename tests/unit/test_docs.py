"""Pages that are printed from the code say what the code does."""

from __future__ import annotations

from pathlib import Path

from knit.settings.reference import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_configuration_page_is_the_one_printed_from_the_table_of_settings() -> None:
    assert (DOCS / "configuration.md").read_text() == page()
