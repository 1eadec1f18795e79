"""account: the registration at the CA, and what to do when the CA knows it no more."""

from __future__ import annotations

import click

from knit.cli import complete
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, json_flag
from knit.cli.session import connected, settings


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
        accounts = console.accounts
        known = accounts.get(terms.directory, terms.name)
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


def _made() -> str:
    from knit.app.issuing import account_key

    return account_key()
