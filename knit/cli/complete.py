"""What the shell offers as values of flags and arguments. What cannot be known now is not offered, without a word."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from knit.core.model.listing import Listed

PATIENCE = 1.5
"""Seconds: a person waits at the prompt."""


def commands(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """All commands, to ask for help on."""
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    return [name for name in root.command.list_commands(root) if name.startswith(typed)]


def providers(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Codes that are served; after the @, the accounts that certificates use already."""
    from knit.app.dns_providers import services

    used = {cert.provider for cert in _listing()} if "@" in typed else set()
    codes = {code for one in services() if one.provider is not None for code in (one.code, *one.aliases)}
    return _starting(typed, codes | used)


def key_types(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """All types of keys."""
    from knit.core.model.keys import KeyType

    return _starting(typed, map(str, KeyType))


def issuers(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """All that are configured here; after a comma, what comes next."""
    from knit.errors import Misconfigured
    from knit.settings.environment import Environment
    from knit.settings.issuers import described

    try:
        known = [terms.name for terms in described(Environment.of_process()).terms]
    except Misconfigured:
        return []
    before = typed[: typed.rfind(",") + 1]
    return _starting(typed, (f"{before}{name}" for name in known))


def ids(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Ids of the certificates on the list."""
    return [number for number in (str(cert.id) for cert in _listing()) if number.startswith(typed)]


def sets_of_names(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Each certificate's names, as `--domains` takes them."""
    return _starting(typed, (",".join(cert.names) for cert in _listing()))


def names(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Every name of every certificate."""
    return _starting(typed, (name for cert in _listing() for name in cert.names))


def names_and_ids(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """What may stand for one certificate: its names, and its id once something is typed."""
    return names(ctx, parameter, typed) + (ids(ctx, parameter, typed) if typed else [])


def _starting(typed: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(typed) and word.isprintable()})


def _listing() -> Sequence[Listed]:
    """As it stands: a key pressed at a prompt brings no schema up to date. Nothing when it cannot be had soon."""
    from knit.app.console import glance
    from knit.cli.session import settings
    from knit.errors import KnitError

    try:
        with _soon():
            return glance(settings())
    except (KnitError, OSError):
        return ()


@contextmanager
def _soon() -> Iterator[None]:
    """Raise TimeoutError in what takes longer than a person waits at a prompt."""
    before = signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_late(*_: object) -> None:
    raise TimeoutError
