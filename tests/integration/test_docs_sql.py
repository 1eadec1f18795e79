"""Every query that a page tells an operator to run is one that the database takes."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from knit.store.database import Database

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_TEXT = re.compile(r"`(select [^`]+)`")


def queries() -> list[str]:
    texts = [page.read_text() for page in sorted(DOCS.rglob("*.md"))]
    blocks = (query for text in texts for block in BLOCK.findall(text) for query in block.split(";"))
    return [
        query.strip()
        for query in (*blocks, *(query for text in texts for query in IN_TEXT.findall(text)))
        if query.strip()
    ]


def test_there_are_queries_to_look_at() -> None:
    assert len(queries()) >= 8


@pytest.mark.parametrize("query", queries())
def test_a_query_on_a_page_runs(migrated_url: str, query: str) -> None:
    with Database.open(migrated_url), psycopg.connect(migrated_url) as connection:
        assert connection.execute(query).description is not None
