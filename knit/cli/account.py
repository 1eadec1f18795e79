"""account: the registration at the CA, and what to do when the CA knows it no more."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from knit.cli import complete
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, json_flag
from knit.cli.session import connected, settings
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.model.issuer import Sealed


@click.group(name="account", cls=Group, context_settings=ANSWERS_HELP)
def account_command() -> None:
    """Mend the account at the CA."""


@account_command.command(cls=Command, name="forget", short_help="Have the next order register an account.")
@click.option("--issuer", metavar="NAME", help="Whose account.  [default: the first]", shell_complete=complete.issuers)
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
        left = sealing.purge() if any(one.result == "sealed" for one in done) else ()
    if as_records:
        as_json({"result": "sealed", "keys": [asdict(one) for one in done], "old_versions_left": left})
        return
    click.echo("\n".join(_said(one) for one in done) or "no account key lies in PostgreSQL")
    if left:
        click.echo(
            f"old versions of rows may still lie in the files of {' and '.join(left)}: have their owner run "
            f"`{'; '.join(f'vacuum full {table}' for table in left)}` while no transaction is open"
        )


def _said(one: Sealed) -> str:
    whose = f"issuer {one.issuer} at {clean(one.directory)}" if one.directory else "the Go knit's table"
    note = "; it lies in clear, for the Go knit" if one.result == "left as it was" else ""
    return f"account key of {whose}: {one.result}{note}"


def _keys() -> tuple[bytes, ...]:
    from knit.settings.central import secret_keys

    return secret_keys(Environment.of_process())


def _made() -> str:
    from knit.app.issuing import account_key

    return account_key()
