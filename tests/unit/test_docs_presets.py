"""Each preset has a page that says what the code does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from knit.core.presets import PRESETS
from knit.settings.node_reference import preset_table
from tests.unit.settings.test_node_file import read

PAGES = Path(__file__).parents[2] / "docs" / "howto" / "nodes"
EXAMPLE = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_each_preset_has_a_page_and_each_page_a_preset() -> None:
    assert {page.stem for page in PAGES.iterdir()} == PRESETS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_a_page_is_the_preset(name: str) -> None:
    assert f"\n{preset_table(PRESETS[name])}\n" in (PAGES / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PRESETS)
def test_the_node_file_of_a_page_is_valid_and_takes_the_preset(name: str) -> None:
    (example,) = EXAMPLE.findall((PAGES / f"{name}.md").read_text())
    assert read(example).places == {name: replace(PRESETS[name], preset=name)}


@pytest.mark.parametrize("name", PRESETS)
def test_the_configuration_on_a_page_names_the_files_of_the_preset(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    (shown,) = re.findall(r'^names = \["(.*)"\]$', page, re.MULTILINE)
    configuration = page.partition("## The server")[2].partition("## The node file")[0]
    for one in PRESETS[name].files:
        path = one.path.replace("{name}", shown)
        assert path in configuration or (name == "haproxy" and f"crt {path.rpartition('/')[0]}/" in configuration)
