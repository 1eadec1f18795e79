"""Pages that are printed from the code say what the code does."""

from __future__ import annotations

from pathlib import Path

from knit.settings import node_reference
from knit.settings.reference import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_configuration_page_is_the_one_printed_from_the_table_of_settings() -> None:
    assert (DOCS / "configuration.md").read_text() == page()


def test_the_page_of_the_node_file_is_the_one_printed_from_its_keys() -> None:
    assert (DOCS / "operations" / "node-file.md").read_text() == node_reference.page()
