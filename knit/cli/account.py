"""account: the registration at the CA: shown, given another key, ended, registered anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from knit.cli import complete
from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, instant, json_flag
from knit.cli.session import connected, settings
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.accounts import Shown, Upkeep
    from knit.core.model.account import Sealed

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="account", cls=Group, context_settings=ANSWERS_HELP)
def account_command() -> None:
    """Show, change or mend the account at the CA."""


def _named(command: F) -> F:
    """The option `--issuer`."""
    return click.option(
        "--issuer", metavar="NAME", help="Whose account.  [default: the first]", shell_complete=complete.issuers
    )(command)


@account_command.command(cls=Command, name="show", short_help="Show the account, and the CAA record to publish.")
@_named
@json_flag
def show(*, issuer: str | None, as_records: bool) -> int:
    """Show the account as PostgreSQL and the CA have it, and the CAA record that lets it alone order; 1 if it cannot.

    The CA is asked how it has the account; nothing is ordered or changed.
    """
    with _upkeep(issuer) as upkeep:
        shown = upkeep.show()
    if as_records:
        as_json(_record(upkeep.settings.terms.name, shown))
    else:
        click.echo("\n".join(_lines(upkeep.settings.terms.name, shown)))
    return DONE if shown.objection is None else FAILED


def _record(issuer: str, shown: Shown) -> dict[str, object]:
    kept = shown.kept
    return {
        "issuer": issuer,
        "directory": kept.directory,
        "account": kept.uri,
        "status": shown.status,
        "contact": shown.contact,
        "objection": shown.objection,
        "thumbprint": shown.thumbprint,
        "sealed_by": kept.sealed_by,
        "deactivated_at": kept.deactivated_at,
        "unfinished_rotation": shown.unfinished,
        "caa": shown.caa,
    }


def _lines(issuer: str, shown: Shown) -> Iterator[str]:
    kept = shown.kept
    yield f"account     {clean(kept.uri or '-')}"
    yield f"issuer      {issuer}, {clean(kept.directory)}"
    yield f"status      {shown.status or 'not known'}{f' ({clean(shown.objection)})' if shown.objection else ''}"
    if kept.deactivated_at is not None:
        yield f"deactivated {instant(kept.deactivated_at)}: `knit account forget --new-key` has knit register another"
    yield f"contact     {', '.join(shown.contact) or ('not known' if shown.status is None else 'none')}"
    key = "in clear" if kept.sealed_by is None else f"sealed with key {kept.sealed_by}"
    yield f"key         {key}; thumbprint {shown.thumbprint or 'not known'}"
    if shown.unfinished:
        yield "            a change of it was begun and not finished: `knit account rotate` finishes it"
    for value in shown.caa:
        yield f'CAA         0 issue "{clean(value)}"'
    if not shown.caa:
        why = "the CA does not say how it is called in CAA records"
        yield f"CAA         {'not known' if shown.status is None else why}"


@account_command.command(cls=Command, name="rotate", short_help="Give the account another key.")
@_named
@json_flag
def rotate(*, issuer: str | None, as_records: bool) -> None:
    """Have the CA know the account by another key from now on (RFC 8555 section 7.3.5).

    Account, authorizations and CAA records stay as they are; workers go on with the new key by themselves. Whatever
    interrupts it, the same command again finishes it.
    """
    with _upkeep(issuer) as upkeep:
        account, thumbprint = upkeep.rotate()
    if as_records:
        as_json(
            {
                "result": "rotated",
                "issuer": upkeep.settings.terms.name,
                "directory": account.directory,
                "account": account.uri,
                "thumbprint": thumbprint,
            }
        )
    else:
        click.echo(f"the account {clean(account.uri or '')} has another key, with thumbprint {thumbprint}")


@account_command.command(cls=Command, name="deactivate", short_help="End the account at the CA, for ever.")
@_named
@click.option("--confirm", is_flag=True, help="Really do it: the CA gives no account back.")
@json_flag
def deactivate(*, issuer: str | None, confirm: bool, as_records: bool) -> None:
    """End the account at the CA. What it has issued stays valid; nothing is ordered with it any more.

    Nothing is ordered from its issuer until `knit account forget --new-key` has knit register another account.
    """
    if not confirm:
        raise click.UsageError("the CA gives no deactivated account back: add --confirm to do it")
    with _upkeep(issuer) as upkeep:
        account = upkeep.deactivate()
    name = upkeep.settings.terms.name
    if as_records:
        as_json({"result": "deactivated", "issuer": name, "directory": account.directory, "account": account.uri})
    else:
        click.echo(
            f"the account {clean(account.uri or '')} is deactivated; nothing is ordered from issuer {name} before "
            f"`knit account forget --issuer {name} --new-key`"
        )


@account_command.command(cls=Command, name="forget", short_help="Have the next order register an account.")
@_named
@click.option("--new-key", is_flag=True, help="Also make a new key: for an account that the CA has deactivated.")
@json_flag
def forget(*, issuer: str | None, new_key: bool, as_records: bool) -> None:
    """Forget that an account is registered at the CA: the next order registers one.

    With the same key, so where the CA knows the account all the same, it is that one again. Certificates that waited
    for the account are due at the next pass.
    """
    from knit.errors import Refused

    central = settings()
    terms = central.rules.named(issuer)
    with connected(central) as console:
        accounts = console.accounts(_keys())
        known = accounts.kept(terms.directory, terms.name)
        if known is None:
            raise Refused(f"no account is kept for {terms.directory}")
        if known.deactivated_at is not None and not new_key:
            raise Refused(f"the account {known.uri} was deactivated, and its key with it: add --new-key")
        due = accounts.forget(known, _made() if new_key else None)
    if as_records:
        as_json({"result": "forgotten", "directory": terms.directory, "account": known.uri, "due": due})
    else:
        was = "" if known.uri is None else f" ({clean(known.uri)})"
        click.echo(
            f"the account at {terms.directory}{was} is forgotten; the next order registers one; "
            f"certificates due at the next pass because of it: {due}"
        )


@account_command.command(cls=Command, name="seal", short_help="Seal account keys that lie in PostgreSQL.")
@click.option("--issuer", metavar="NAME", help="Whose key.  [default: all]", shell_complete=complete.issuers)
@click.option("--keep-original", is_flag=True, help="Leave the Go knit's own copy as that one can read it.")
@json_flag
def seal(*, issuer: str | None, keep_original: bool, as_records: bool) -> None:
    """Seal all account keys with the first key of KNIT_SECRET_KEY, whether in clear or sealed with an older one.

    The Go knit reads its account's key in clear from a table of its own. That copy is sealed too, and the Go knit
    cannot use it from then on; --keep-original leaves it. What backups and replicas hold stays as it is.
    """
    central, keys = settings(), _keys()
    if issuer is not None:
        central.rules.named(issuer)
    with connected(central) as console:
        sealing = console.sealing(keys)
        done = sealing.run(issuer, keep_original=keep_original)
        new = any(one.result == "sealed" for one in done)
        left, keepers = (sealing.purge(), sealing.keepers()) if new else ((), ())
    if as_records:
        as_json(
            {"result": "sealed", "keys": [asdict(one) for one in done], "old_versions_left": left, "kept_by": keepers}
        )
        return
    click.echo("\n".join(_said(one) for one in done) or "no account key lies in PostgreSQL")
    if left:
        click.echo(
            f"old versions of rows may still lie in the files of {' and '.join(left)}: have their owner run "
            f"`{'; '.join(f'vacuum full {table}' for table in left)}` while no transaction is open"
        )
    if keepers:
        click.echo(f"while they are there, clear copies may be kept by: {clean(', '.join(keepers))}")


def _said(one: Sealed) -> str:
    whose = f"issuer {one.issuer} at {clean(one.directory)}" if one.directory else "the Go knit's table"
    note = "; it lies in clear, for the Go knit" if one.result == "left as it was" else ""
    return f"account key of {whose}: {one.result}{note}"


@contextmanager
def _upkeep(issuer: str | None) -> Iterator[Upkeep]:
    from time import sleep

    from knit.app.accounts import open_upkeep
    from knit.settings.issuers import described

    central = settings()
    one = described(Environment.of_process()).one(central.rules.named(issuer).name)
    with connected(central) as console, open_upkeep(one, console.database, _keys(), sleep) as upkeep:
        yield upkeep


def _keys() -> tuple[bytes, ...]:
    from knit.settings.central import secret_keys

    return secret_keys(Environment.of_process())


def _made() -> str:
    from knit.app.issuing import account_key

    return account_key()
