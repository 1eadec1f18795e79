"""Values as real Go writes and reads them. The golden files come from tests/golden/value.go."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knit.core.digest import pair_digest
from knit.core.model.certificate import CertId
from knit.core.value import Mark, Value
from rig.process import program

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted((GOLDEN / "values").glob("*.json"), key=lambda path: path.name)
MARK = Mark(
    cert_id=CertId(7),
    generation=3,
    issued_at=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    directory="https://ca.test/dir?a=1&b=<2>",
)


def named(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built; without Go the golden files speak for it."""
    compiler = program("go", "/usr/local/go/bin")
    if compiler is None:
        pytest.skip("Go is not installed")
    built = tmp_path_factory.mktemp("go") / "value"
    environment = {**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0"}
    subprocess.run([compiler, "build", "-o", built, GOLDEN / "value.go"], env=environment, check=True)
    return built


@pytest.mark.parametrize("path", FILES, ids=named)
def test_what_go_wrote_is_read_and_written_again_byte_for_byte(path: Path) -> None:
    raw = path.read_bytes()
    value = Value.from_wire(raw)
    value.verify()
    assert value.mark is None
    assert value.to_wire() == raw


@pytest.mark.parametrize("path", FILES, ids=named)
def test_knit_s_own_member_leaves_the_bytes_of_the_others_as_go_writes_them(path: Path) -> None:
    raw = path.read_bytes()
    ours = dataclasses.replace(Value.from_wire(raw), mark=MARK).to_wire()
    assert ours.startswith(raw[:-1] + b',"knit":{')


def test_the_hash_is_the_one_go_computes() -> None:
    vector = json.loads((GOLDEN / "values" / "vector.json").read_bytes())
    assert vector["sha256"] == "e0a5f4bef2c1c34e9518130fe688ed2f23c75b14ee050a4334554f993ba64181"
    empty = json.loads((GOLDEN / "values" / "empty.json").read_bytes())
    assert empty["sha256"] == "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"
    for path in FILES:
        value = json.loads(path.read_bytes())
        assert value["sha256"] == pair_digest(value["fullchain"].encode(), value["privkey"].encode())


def test_the_golden_files_are_what_go_writes_today(go: Path, tmp_path: Path) -> None:
    subprocess.run([go, "write", tmp_path], check=True)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_go_reads_what_knit_writes_and_does_not_see_knit_s_own_member(go: Path, tmp_path: Path, path: Path) -> None:
    raw = path.read_bytes()
    ours = tmp_path / "ours.json"
    ours.write_bytes(dataclasses.replace(Value.from_wire(raw), mark=MARK).to_wire())
    read = subprocess.run([go, "read", ours], check=True, capture_output=True)
    assert read.stdout == raw
