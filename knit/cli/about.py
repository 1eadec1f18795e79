"""version, help, completion."""

from __future__ import annotations

import platform
from importlib import import_module

import click

from knit import __version__
from knit.cli import complete
from knit.cli.goflags import Command, no_such
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
@click.argument("words", metavar="[COMMAND]...", nargs=-1, shell_complete=complete.commands)
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show help on knit or one of its commands."""
    from knit.cli.app import unknown

    asked = ctx.find_root()
    for word in words:
        group = asked.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{asked.command_path} has no commands of its own", asked)
        found = group.get_command(asked, word)
        if found is None:
            known = group.list_commands(asked)
            raise unknown(word, asked) if asked.parent is None else no_such("command", word, known, asked)
        asked = click.Context(found, info_name=word, parent=asked)
    click.echo(asked.get_help())


@click.command(cls=Command, epilog="For example: `source <(knit completion bash)`, `knit completion fish | source`.")
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes the shell complete commands, options and what is on the list."""
    complete = import_module("click.shell_completion").get_completion_class(shell)
    click.echo(complete(ctx.find_root().command, {}, "knit", "_KNIT_COMPLETE").source())
