"""config: what is set here, and what each process would do with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, MISUSED
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.node_file import explained
from knit.cli.output import as_json, clean, fitted, for_people, json_flag, styled, table, width
from knit.core.node_records import of_node
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.model.issuer import Terms
    from knit.settings.checked import Found, Variable


ISSUER = (
    *("name", "kind", "directory", "staging", "key_type", "profile", "preferred_chain", "limits", "concurrency"),
    "default",
)


@click.group(name="config", cls=Group, context_settings=ANSWERS_HELP)
def config_command() -> None:
    """Check what is set."""


@config_command.command(cls=Command, name="check", short_help="Read every variable and file that is set.")
@json_flag
def check(*, as_records: bool) -> int:
    """Read every variable and file that is set, and say what each process would do with it.

    Nothing is asked of any server. Ends with 2 where something is set that no process takes.
    """
    from knit.settings.checked import checked

    found = checked(Environment.of_process())
    if as_records:
        as_json(_record(found))
    else:
        click.echo("\n".join(_lines(found)))
    return MISUSED if found.wrong else DONE


def _record(found: Found) -> dict[str, object]:
    return {
        "variables": [asdict(one) for one in found.variables],
        "issuers": [issuer(one, found.default) for one in found.issuers],
        "issuers_from": found.issuers_from,
        "issuers_error": found.error,
        "node": None if found.node is None else of_node(found.node, roots=found.roots, now=datetime.now(UTC)),
        "node_from": found.node_from,
        "node_error": found.node_error,
        "processes": [{"name": name, "error": error} for name, error in found.processes.items()],
    }


def issuer(terms: Terms, default: tuple[str, ...]) -> dict[str, object]:
    """What an issuer is, as configured. `default` is its place among those of certificates that name none."""
    place = default.index(terms.name) + 1 if terms.name in default else None
    return {name: getattr(terms, name) for name in ISSUER if name != "default"} | {"default": place}


def _lines(found: Found) -> Iterator[str]:
    if found.variables:
        given = [_variable(one) for one in found.variables]
        yield from _table(("VARIABLE", "VALUE", "READ BY"), given)
        yield ""
    if found.error is not None:
        yield styled(clean(f"issuers, from {found.issuers_from}: {found.error}"), fg="red")
    else:
        issuers = [_issuer(one, found.default) for one in found.issuers]
        yield clean(f"issuers, from {found.issuers_from}:")
        yield from _table(("NAME", "KIND", "DIRECTORY", "DEFAULT"), issuers)
    yield ""
    if found.node_from is not None:
        yield from _node(found, found.node_from)
        yield ""
    verdicts = [(name, "would start" if error is None else clean(error)) for name, error in found.processes.items()]
    yield from _table(("PROCESS", "WITH THIS"), verdicts)


def _node(found: Found, origin: str) -> Iterator[str]:
    if found.node is None:
        yield styled(clean(f"node file, from {origin}: {found.node_error}"), fg="red")
    else:
        yield from explained(found.node, origin=origin, roots=found.roots, now=datetime.now(UTC))


def _issuer(terms: Terms, default: tuple[str, ...]) -> tuple[str, ...]:
    place = issuer(terms, default)["default"]
    return terms.name, terms.kind, clean(terms.directory), "-" if place is None else str(place)


def _variable(one: Variable) -> tuple[str, ...]:
    return one.name, clean(one.error or one.value or "(hidden)"), ", ".join(one.readers) or "-"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    head, *lines = fitted([heads, *rows], width()) if for_people() else table([heads, *rows])
    return [styled(head, bold=True), *lines]
