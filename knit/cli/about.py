"""version, help, completion."""

from __future__ import annotations

import platform
from importlib import import_module

import click

from knit import __version__
from knit.cli.flags import Command
from knit.cli.output import as_json, json_flag

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command, lenient=True)
@json_flag
def version_command(*, as_records: bool) -> None:
    """Print the version."""
    if as_records:
        as_json({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"knit {__version__} (Python {platform.python_version()})")


@click.command(cls=Command)
@click.argument("command", required=False)
@click.pass_context
def help_command(ctx: click.Context, command: str | None) -> None:
    """Show help on knit or one of its commands."""
    parent = ctx.find_root()
    group = parent.command
    assert isinstance(group, click.Group)
    if command is None:
        click.echo(parent.get_help())
        return
    found = group.get_command(parent, command)
    if found is None:
        raise click.UsageError(f"No such command {command!r}", parent)
    click.echo(found.get_help(click.Context(found, info_name=command, parent=parent)))


@click.command(cls=Command, epilog="For example: `source <(knit completion bash)`, `knit completion fish | source`.")
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes the shell complete knit's commands and flags."""
    complete = import_module("click.shell_completion").get_completion_class(shell)
    click.echo(complete(ctx.find_root().command, {}, "knit", "_KNIT_COMPLETE").source())
