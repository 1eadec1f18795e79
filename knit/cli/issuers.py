"""issuers: where certificates come from, as PostgreSQL remembers it, and the confirmation of a switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from knit.cli import complete
from knit.cli.config import ISSUER, issuer
from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, instant, json_flag, table
from knit.cli.session import connected, settings
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.decision import Rules
    from knit.core.model.issuer import Identity, Remembered, Terms
    from knit.settings.central import Central


@click.group(
    name="issuers",
    cls=Group,
    invoke_without_command=True,
    context_settings=ANSWERS_HELP,
    epilog="A process with another directory than the one that is shown issues nothing from it.",
)
@json_flag
@click.pass_context
def issuers_command(ctx: click.Context, *, as_records: bool) -> None:
    """Show where certificates come from, ask an issuer what it offers, or confirm a switch to another CA."""
    if ctx.invoked_subcommand is None:
        _show(as_records=as_records)


@issuers_command.command(cls=Command, name="accept", short_help="Confirm the switch to another CA.")
@click.argument("name", metavar="NAME", shell_complete=complete.issuers)
@json_flag
def accept(*, name: str, as_records: bool) -> None:
    """Confirm that issuer NAME is from now on what this shell is configured with.

    Certificates from another directory are due at the next pass, and stay published until their successors are.
    """
    central = settings()
    terms = central.rules.named(name)
    with connected(central) as console:
        before = console.issuers.recall(name)
        due = console.issuers.accept(terms)
    if as_records:
        directory = None if before is None else before.directory
        as_json({"result": "accepted", "name": name, "directory": terms.directory, "before": directory, "due": due})
    else:
        click.echo(_sentence(terms, before, due))


def _sentence(terms: Terms, before: Identity | None, due: int) -> str:
    name, directory = terms.name, terms.directory
    if before is not None and before.directory == directory:
        roots = (
            "already" if before.roots == terms.roots else "as before; the roots that vouch for it are now those here"
        )
        return f"issuer {name} is {directory} {roots}"
    instead = "" if before is None else f", no longer {clean(before.directory)}"
    return f"issuer {name} is now {directory}{instead}; certificates due at the next pass because of it: {due}"


@issuers_command.command(cls=Command, name="test", short_help="Ask an issuer what it offers; nothing is ordered.")
@click.argument("name", metavar="NAME", shell_complete=complete.issuers)
@json_flag
def test(*, name: str, as_records: bool) -> int:
    """Ask issuer NAME whether an order would go through, and what it offers; 1 if none would.

    Directory, terms of service, our account and its binding, profiles and renewal times. Nothing is ordered or changed.
    """
    from time import sleep

    from knit.app.surveying import survey
    from knit.cli.dns import lines
    from knit.core.findings import failed
    from knit.settings.central import secret_keys
    from knit.settings.issuers import described

    central, environment = settings(), Environment.of_process()
    terms = central.rules.named(name)
    one = described(environment).one(terms.name)
    with connected(central) as console:
        findings = survey(one, console.database, secret_keys(environment), sleep)
    if as_records:
        as_json([{"subject": f.subject, "verdict": f.verdict.value, "text": f.text} for f in findings])
    else:
        click.echo("\n".join(lines(findings)))
    return FAILED if failed(findings) else DONE


def _show(*, as_records: bool) -> None:
    central = settings()
    with connected(central) as console:
        found = {one.name: one for one in console.issuers.all()}
    names = [*(terms.name for terms in central.issuers), *sorted(found)]
    records = [_record(name, central, found.get(name)) for name in dict.fromkeys(names)]
    if as_records:
        as_json(records)
        return
    heads = ("NAME", "KIND", "DIRECTORY", "DEFAULT", "SINCE", "")
    click.echo("\n".join(table([heads, *map(_row, records)])))


def _record(name: str, central: Central, recorded: Remembered | None) -> dict[str, object]:
    """As configured here, and as recorded; what is neither is null."""
    from knit.core.issuers import refusal

    terms = central.rules.terms(name)
    own = dict.fromkeys(ISSUER) if terms is None else issuer(terms, central.default)
    was = None if recorded is None else recorded.directory
    return {
        **own,
        "name": name,
        "kind": recorded.kind if terms is None and recorded is not None else own["kind"],
        "directory": was or own["directory"],
        "since": None if recorded is None else recorded.since,
        "configured": None if terms is None else terms.directory,
        "agrees": terms is not None and refusal(terms, None if recorded is None else recorded.identity) is None,
    }


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    place = "-" if record["default"] is None else str(record["default"])
    if record["configured"] is None:
        state = "not configured here"
    elif not record["agrees"]:
        other = record["configured"] != record["directory"]
        here = f"it is {clean(record['configured'])}" if other else "its roots are others"
        state = f"here {here}: issues nothing"
    else:
        state = "for trials" if record["staging"] else ""
    since = "not used yet" if record["since"] is None else instant(record["since"])
    return record["name"], record["kind"], clean(record["directory"]), place, since, state


def _names_its_own() -> bool:
    env = Environment.of_process()
    return "KNIT_ACME_DIRECTORY" in env or "KNIT_ISSUERS" in env


def recorded_rules(console: Console, central: Central) -> Rules:
    """What workers decide by, as far as a shell knows that names no directory: each issuer is what is recorded."""
    rules = central.rules
    if _names_its_own():
        return rules
    remembered = [(terms, console.issuers.recall(terms.name)) for terms in rules.issuers]
    known = (terms if was is None else replace(terms, directory=was.directory) for terms, was in remembered)
    return replace(rules, issuers=tuple(known))


def rules_of(console: Console, central: Central, *, here: bool) -> Rules:
    """The rules that decide. `here`: this process is the one that would issue, else workers are.

    Raises Misconfigured when a directory is not the one remembered; a shell that names none has no say in what workers
    do.
    """
    from knit.core.issuers import refusal
    from knit.errors import Misconfigured

    memory, rules = console.issuers, central.rules
    if not here and not _names_its_own():
        return recorded_rules(console, central)
    for terms in rules.issuers if len(rules.issuers) == 1 else ():
        was = memory.recall(terms.name)
        # Whom a CA's certificate is vouched for by is for those to say who speak to it.
        why = refusal(terms if here else replace(terms, roots=None), was)
        if why is not None and not (here and memory.correct(terms)):
            raise Misconfigured(why)
    return rules
