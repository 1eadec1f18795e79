"""A column of the issued facts is a field of the record and a migration: every statement then writes and reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knit.store.columns import expanded

ROOT = Path(__file__).parents[3]

LAST = "    key_path: str\n"
COLOURED = f"{LAST}    colour: str | None = None\n"

SCRIPT = """
import sys
from dataclasses import replace

import knit
from knit.store.database import Database
from tests.integration.store.conftest import RULES, Store

print(knit.__file__)
with Database.open(sys.argv[1], connections=4) as database:
    store = Store(database)
    spec = store.add()
    with store.leases.hold(f"cert:{spec.id}") as lease:
        attempt = store.begin(lease, spec)
        store.hand_over(lease, attempt)
    parcel = store.parcel(spec, attempt)
    parcel = replace(parcel, issued=replace(parcel.issued, colour="red"))
    store.passes.publishing([parcel])
    store.passes.record_published([parcel])
    print(store.load(spec.id).state.issued.colour)
    print(store.passes.recorded([spec.valkey_key])[0][1].colour)
    print(*(candidate.state.issued.colour for candidate in store.passes.candidates(RULES, [])))
    found = replace(parcel.issued, colour="blue", sha256="0" * 64)
    store.passes.record_adopted(found, "ab", before=parcel.issued.sha256)
    print(store.load(spec.id).state.issued.colour)
    store.leases.stop()
"""


def with_a_colour(tree: Path) -> None:
    """The whole change: a field, and a migration."""
    shutil.copytree(ROOT / "knit", tree / "knit", ignore=shutil.ignore_patterns("__pycache__"))
    model = tree / "knit/core/model/certificate.py"
    before, after = model.read_text().split("class Issued:")
    model.write_text(f"{before}class Issued:{after.replace(LAST, COLOURED, 1)}")
    migrations = tree / "knit/store/migrations"
    newest = max(int(path.name[:4]) for path in migrations.glob("*.sql"))
    (migrations / f"{newest + 1:04}_colour.sql").write_text("alter table knit_issued add column colour text;\n")


def test_a_column_of_the_issued_facts_is_two_edits(tmp_path: Path, database_url: str) -> None:
    with_a_colour(tmp_path)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, database_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=env,
    )
    assert not done.returncode, done.stderr
    where, *colours = done.stdout.split()
    assert where.startswith(str(tmp_path))
    assert colours == ["red", "red", "red", "blue"]


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("{issued}", "cert_id, names_key, "),
        ("{issued given}", "%(cert_id)s, %(names_key)s, "),
        ("{spec of c}", "c.id, c.names, "),
        ("{attempt of a as a_}", "a.id a_id,a.cert_id a_cert_id,"),
        ("{issued set from x}", "names_key = x.names_key, issuer = x.issuer, "),
        ("{issued set from x but issuer}", "names_key = x.names_key, directory = x.directory, "),
    ],
)
def test_a_list_of_columns_is_written_as_the_statement_needs_it(written: str, start: str) -> None:
    assert expanded(f"select {written} from x").startswith(f"select {start}")


def test_a_list_that_nobody_can_write_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="of"):
        expanded("{issued of}")
