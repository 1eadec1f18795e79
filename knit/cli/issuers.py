"""issuers: where certificates come from, as PostgreSQL remembers it, and the confirmation of a switch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from knit.cli import complete
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, instant, json_flag, table
from knit.cli.session import connected, settings
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.decision import Rules
    from knit.settings.central import Central


@click.group(
    name="issuers",
    cls=Group,
    invoke_without_command=True,
    context_settings=ANSWERS_HELP,
    epilog="A process whose KNIT_ACME_DIRECTORY differs from what is shown here issues nothing.",
)
@json_flag
@click.pass_context
def issuers_command(ctx: click.Context, *, as_records: bool) -> None:
    """Show where certificates come from, or confirm a switch to another CA."""
    if ctx.invoked_subcommand is None:
        _show(as_records=as_records)


@issuers_command.command(cls=Command, name="accept", short_help="Confirm the switch to another CA.")
@click.argument("name", metavar="NAME", shell_complete=complete.issuers)
@json_flag
def accept(*, name: str, as_records: bool) -> None:
    """Confirm that issuer NAME is from now on the CA of this shell's KNIT_ACME_DIRECTORY.

    Certificates from another directory are due at the next pass, and stay published until their successors are.
    """
    central = settings()
    terms = central.rules.named(name)
    with connected(central) as console:
        before = console.issuers.recall(name)
        due = console.issuers.accept(terms)
    if as_records:
        as_json({"result": "accepted", "name": name, "directory": terms.directory, "before": before, "due": due})
    else:
        click.echo(_sentence(name, before, terms.directory, due))


def _sentence(name: str, before: str | None, directory: str, due: int) -> str:
    if before == directory:
        return f"issuer {name} is {directory} already"
    instead = "" if before is None else f", no longer {clean(before)}"
    return f"issuer {name} is now {directory}{instead}; certificates due at the next pass because of it: {due}"


def _show(*, as_records: bool) -> None:
    from knit.core.issuers import agree

    central = settings()
    rules = central.rules
    with connected(central) as console:
        found = console.issuers.all()
    if as_records:
        as_json(
            [
                {"name": one.name, "kind": one.kind, "directory": one.directory, "since": one.since}
                | {"agrees": (terms := rules.terms(one.name)) is not None and agree(one.directory, terms.directory)}
                for one in found
            ]
        )
    elif not found:
        click.echo("no issuer has been used yet")
    else:
        rows = [(one.name, one.kind, clean(one.directory), instant(one.since)) for one in found]
        click.echo("\n".join(table([("NAME", "KIND", "DIRECTORY", "SINCE"), *rows])))


def rules_of(console: Console, central: Central, *, here: bool) -> Rules:
    """The rules that decide. `here`: this process is the one that would issue, else workers are.

    Raises Misconfigured when a directory is not the one remembered; a shell that names none has no say in what workers
    do.
    """
    from knit.core.issuers import refusal
    from knit.errors import Misconfigured

    memory, rules = console.issuers, central.rules
    remembered = [(terms, memory.recall(terms.name)) for terms in rules.issuers]
    if not here and "KNIT_ACME_DIRECTORY" not in Environment.of_process():
        known = (replace(terms, directory=was or terms.directory) for terms, was in remembered)
        return replace(rules, issuers=tuple(known))
    for terms, was in remembered:
        why = refusal(terms, was)
        if why is not None and not (here and memory.correct(terms)):
            raise Misconfigured(why)
    return rules
