"""On the package index, knit is another project: no text of ours leads there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = re.compile(r"(?<![-\w./])knit\[[a-z{]|pip3? install(?: --?\S+)* ['\"]?knit(?![-\w])")
FOLDERS = ("knit", "workers", "scheduler", "docs", "compose", "tests", ".ci", "requirements")


def test_the_distribution_has_a_name_of_its_own_and_the_command_stays() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["scripts"]["knit"]) == ("knit-certs", "knit.cli:main")


def test_no_text_suggests_the_foreign_one() -> None:
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile"]
    files += [
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ".txt", ""}
    ]
    texts = {path: path.read_text(errors="replace") for path in files if path.is_file() and path != Path(__file__)}
    assert len(texts) > 100
    assert [str(path) for path, text in texts.items() if FOREIGN.search(text)] == []


def test_what_is_looked_for_is_found() -> None:
    for text in ("install knit[central]", "pip install 'knit[lego]'", "pip install knit", "`knit[gcloud]`"):
        assert FOREIGN.search(text), text
    for text in ("install knit-certs[central]", "pip install 'knit-certs[lego]'", "knit list"):
        assert not FOREIGN.search(text), text
