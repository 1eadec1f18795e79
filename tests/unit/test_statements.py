from __future__ import annotations

from pathlib import Path

import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

import knit.store
from knit.store.journal.holding import HOLD
from knit.store.queries import queries

ROOT = Path(knit.store.__file__).parent
SUBJECTS = sorted(
    str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.rglob("*.sql") if "migrations" not in path.parts
)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_statement_is_so_long_that_psycopg_parses_it_anew_each_time(subject: str) -> None:
    long = [name for name, text in queries(subject).items() if len(text.encode()) > MAX_CACHED_STATEMENT_LENGTH]
    assert not long


def test_neither_is_the_one_that_each_renewal_begins_with() -> None:
    assert len(HOLD.encode()) <= MAX_CACHED_STATEMENT_LENGTH


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_that_only_a_reader_of_the_file_needs_is_sent(subject: str) -> None:
    sent = "\n".join(queries(subject).values()).splitlines()
    assert [line for line in sent if line.startswith((" ", "--"))] == []
