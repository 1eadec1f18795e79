"""The rules of Go's flag package over click, so that command lines of the Go knit go on working.

One or two dashes; `-name value`, `-name=value`; switches also as `-once=true`; a value may begin with a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import click

ANSWERS_HELP = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command of knit. Words that are not flags are refused.

    `lenient`: only warned about, where the Go knit ignored them and nothing is at stake. `names_by`: the option that a
    stray word was probably meant for.
    """

    def __init__(self, *args: Any, lenient: bool = False, names_by: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_extra_args = lenient or names_by is not None
        self._names_by = names_by

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, after rewriting the arguments."""
        with _suggesting(self, ctx):
            rest = super().parse_args(ctx, _rewritten(self, ctx, args))
        if ctx.args and self._names_by is not None and not ctx.resilient_parsing:
            word = ctx.args[0]
            message = f"{word!r} belongs to no option; for one certificate: {self._names_by} {word}"
            raise click.UsageError(message, ctx)
        if ctx.args and not ctx.resilient_parsing:
            click.echo(f"knit: {ctx.command_path}: ignored: {' '.join(map(repr, ctx.args))}", err=True)
        return rest


class Group(click.Group):
    """A command with commands of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, after rewriting the flags that stand before the command's name."""
        own = list(takewhile(lambda arg: arg.startswith("-"), args))
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            raise click.UsageError(f"Missing command: {' or '.join(self.commands)}", ctx)
        with _suggesting(self, ctx):
            return super().parse_args(ctx, [*_rewritten(self, ctx, own), *args[len(own) :]])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click; an unknown word gets the nearest command as a suggestion."""
        if args[0] in self.commands or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise no_such("command", args[0], self.commands, ctx)


@contextmanager
def _suggesting(command: click.Command, ctx: click.Context) -> Iterator[None]:
    """An unknown option gets the nearest ones as a suggestion."""
    try:
        yield
    except click.NoSuchOption as error:
        known = [name for param in command.get_params(ctx) for name in param.opts if name.startswith("--")]
        raise no_such("option", error.option_name, known, ctx) from None


def no_such(kind: str, word: str, known: Iterable[str], ctx: click.Context, *, sure: bool = False) -> click.UsageError:
    """The error for a word that is not known, with what it may mean. `sure`: it means what is known."""
    from knit.core import near

    bare = {name.lstrip("-"): name for name in known}
    words = tuple(bare) if sure else near.near(word.lstrip("-").lower(), bare)
    meant = f"; did you mean {' or '.join(bare[one] for one in words)}?" if words else ""
    return click.UsageError(f"No such {kind} {word!r}{meant}", ctx)


def _rewritten(command: click.Command, ctx: click.Context, args: list[str]) -> list[str]:
    options = [option for option in command.get_params(ctx) if isinstance(option, click.Option)]
    switches = {_name(option) for option in options if option.is_flag}
    values = {_name(option) for option in options} - switches
    return as_click_takes(args, switches=switches, values=values)


def _name(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def as_click_takes(args: Iterable[str], *, switches: AbstractSet[str], values: AbstractSet[str]) -> list[str]:
    """The same arguments with two dashes, `=` between a flag and its value, and switches without a value.

    What is not understood is handed on for click to complain about. Raises click.BadParameter for a switch that is
    neither true nor false.
    """
    rewritten: list[str] = []
    on: dict[str, bool] = {}
    rest = iter(args)
    for arg in rest:
        name, equals, value = _split(arg)
        if arg == "--":
            rewritten += [arg, *rest]
        elif name in switches:
            on[name] = _switch(name, value) if equals else True
        elif name in values:
            given = value if equals else next(rest, None)
            rewritten.append(f"--{name}" if given is None else f"--{name}={given}")
        else:
            rewritten.append(f"--{name}{equals}{value}" if name else arg)
    return [*(f"--{name}" for name, wanted in on.items() if wanted), *rewritten]


def _split(arg: str) -> tuple[str, str, str]:
    """Name, `=` or nothing, value; the name is empty for what is no long flag."""
    if not arg.startswith("-"):
        return "", "", ""
    name, equals, value = arg.removeprefix("-").removeprefix("-").partition("=")
    return (name, equals, value) if len(name) > 1 else ("", "", "")


def _switch(name: str, value: str) -> bool:
    from knit.core.words import flag

    try:
        return flag(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} must be {error}", param_hint=f"--{name}") from None
