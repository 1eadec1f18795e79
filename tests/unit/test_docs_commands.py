"""The page of commands names every command, option and field that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from knit.cli.app import COMMANDS, app
from knit.core.model.listing import Try
from knit.core.records import of_certificate
from tests.unit.cli.test_listed import CERT

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
COMMON = {"--help", "--json", "--id", "--domains"}


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


EVERY = dict(commands(app))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_the_page_names_the_command_and_its_options(path: tuple[str, ...]) -> None:
    if path not in {("account",), ("dns",)}:
        assert re.search(rf"knit {' '.join(path)}\b", PAGE), path
    for option in EVERY[path].params:
        if isinstance(option, click.Option):
            assert COMMON & set(option.opts) or any(f"{name}" in PAGE for name in option.opts), option.opts


def test_the_page_names_every_field_of_a_certificate_and_of_an_attempt() -> None:
    for field in (*of_certificate(CERT), *Try.__slots__):
        assert f"`{field}`" in PAGE, field


def test_every_summary_in_the_table_of_commands_is_a_sentence() -> None:
    for name, (_, summary) in COMMANDS.items():
        assert re.fullmatch(r"[A-Z].*\.", summary), name
