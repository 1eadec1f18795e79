"""What the pages tell a reader to type exists, and so does what they point at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from knit.cli.app import app
from knit.settings.variables import SETTINGS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = [*PAGES, ROOT / "compose" / "compose.yaml"]
BUILT_IN = {"-h", "--help"}
MADE_UP = {"KNIT_AUDIT_INTERVAL"}
"""Of the process that docs/howto adds as an example."""

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\bKNIT_[A-Z][A-Z_]*[A-Z]\b(?!…)")
COMMAND = re.compile(r"(?:^|[\s/;])knit ((?:[a-z-]|--).*)")
FILE = re.compile(r"`((?!providers/CODE)[a-z_]+/[a-z_/]+\.(?:py|sql))`")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> Iterator[str]:
    """What follows `knit ` in code, lines joined where they are continued."""
    for block in FENCE.findall(text):
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()[1:-1]:
            yield from (match[1] for match in [COMMAND.search(line)] if match)
    for code in INLINE.findall(FENCE.sub("", text)):
        yield from (match[1] for match in [COMMAND.match(code)] if match)


def words(command: str) -> list[str]:
    """The words up to where the shell's own begin."""
    bare = re.split(r"\s[#|>&;]|\s+  ", command)[0]
    try:
        return shlex.split(bare.replace("…", ""))
    except ValueError:
        return bare.split()


def found(typed: list[str]) -> tuple[click.Command, list[str]]:
    """The command these words name, and the words after it. Raises LookupError."""
    command: click.Command = app
    while isinstance(command, click.Group) and typed and not typed[0].startswith("-"):
        context = click.Context(command)
        below = command.get_command(context, typed[0])
        if below is None:
            raise LookupError(typed[0])
        command, typed = below, typed[1:]
    return command, typed


def flags(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts if flag.startswith("-")} | BUILT_IN


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as the usual renderers make them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_on_a_page_exists_with_its_flags(page: Path) -> None:
    for typed in map(words, commands(page.read_text())):
        if not typed or "/" in typed[0] or not typed[0].isascii():
            continue
        command, rest = found(typed)
        used = {word.partition("=")[0] for word in rest if word.startswith("-")}
        assert used <= flags(command), typed


@pytest.mark.parametrize("page", EXAMPLES, ids=name)
def test_every_variable_on_a_page_is_in_the_table_of_settings(page: Path) -> None:
    names = {
        text.removesuffix("_FILE") if text not in SETTINGS else text for text in VARIABLE.findall(page.read_text())
    }
    assert names <= SETTINGS.keys() | MADE_UP


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if fragment:
            assert fragment in anchors(there), target


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_file_that_the_architecture_names_is_there() -> None:
    named = set(FILE.findall(ARCHITECTURE))
    assert len(named) > 40
    assert {path for path in named if not (ROOT / path).exists() and not (ROOT / "knit" / path).exists()} == set()


@pytest.mark.parametrize("room", ["core", "flows"])
def test_the_tree_names_every_file_of_a_room(room: str) -> None:
    tree = ARCHITECTURE.partition(f"\n  {room}/ ")[2].partition("\n  ports/ " if room == "core" else "\n  store/ ")[0]
    files = {path.stem for path in (ROOT / "knit" / room).glob("*.py")} - {"__init__"}
    assert (
        files - {word for line in tree.splitlines()[1:] for word in re.split(r"\s{2,}", line.strip())[0].split()}
        == set()
    )


def test_the_pages_have_commands_and_variables_to_look_at() -> None:
    texts = [page.read_text() for page in PAGES]
    assert sum(1 for text in texts for _ in commands(text)) > 40
    assert {name for text in texts for name in VARIABLE.findall(text)} >= SETTINGS.keys()
