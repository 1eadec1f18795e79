"""nodes: who reports, and who has gone silent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, instant, json_flag, table
from knit.cli.session import connected, settings

if TYPE_CHECKING:
    from knit.core.model.node import Node


@click.group(
    name="nodes",
    cls=Group,
    invoke_without_command=True,
    context_settings=ANSWERS_HELP,
    epilog="A node that has not reported for three of its intervals is silent: nothing is known to be served there.",
)
@json_flag
@click.pass_context
def nodes_command(ctx: click.Context, *, as_records: bool) -> None:
    """Show the nodes that report, forget one, or print what a node's user in Valkey may do."""
    if ctx.invoked_subcommand is None:
        _show(as_records=as_records)


@nodes_command.command(cls=Command, name="forget", short_help="Forget a node that is gone for good.")
@click.argument("name", metavar="NAME")
@json_flag
def forget(*, name: str, as_records: bool) -> int:
    """Forget node NAME and all that it said. One that reports again is a new node."""
    with connected(settings()) as console:
        known = console.served.forget(name)
    if as_records:
        as_json({"result": "forgotten" if known else "not_known", "name": name})
    else:
        click.echo(f"forgotten: {clean(name)}" if known else f"no node is called {clean(name)}", err=not known)
    return DONE if known else FAILED


@nodes_command.command(cls=Command, name="acl", short_help="Print what a node's user in Valkey may do.")
@click.argument("name", metavar="NAME")
def acl(*, name: str) -> int:
    """Print the rule for Valkey's user that node NAME reports as: it may write its own report and nothing else."""
    from knit.app.collecting import reporter_rule
    from knit.core.report import valid_name

    if not valid_name(name):
        raise click.UsageError(f"{name!r} is no name of a node: letters, digits, dots, _ and - make one")
    click.echo(reporter_rule(settings().index_key, name))
    return DONE


def _show(*, as_records: bool) -> None:
    from knit.core.records import of_node

    with connected(settings()) as console:
        # What this reads of the reports is recorded; nothing of it is needed here.
        fleet = console.status(time.sleep).look(most=0)
        nodes = console.served.nodes()
    if fleet.unread is not None:
        click.echo(f"knit: reports not read now, this is as last recorded: {clean(fleet.unread)}", err=True)
    if as_records:
        as_json([of_node(one) for one in nodes])
    elif nodes:
        heads = ("NAME", "KNIT", "LAST_REPORT", "STATE", "SERVES", "ORPHANED", "")
        click.echo("\n".join(table([heads, *map(_row, nodes)])))
    else:
        click.echo("no node reports")


def _row(one: Node) -> tuple[str, ...]:
    serves = f"{one.fine} of {one.certificates}"
    said = "" if one.refused is None else clean(one.refused)
    return one.name, clean(one.version), instant(one.last_report), one.state, serves, str(one.orphaned), said
