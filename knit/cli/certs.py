"""add, set, remove, list, enable, disable: what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from knit.cli import complete, listed
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, for_people, json_flag
from knit.cli.selection import check_selection, named, selected, selecting
from knit.cli.session import connected, settings
from knit.cli.waking import changing
from knit.core.model.keys import KeyType
from knit.core.records import of_certificate
from knit.core.text import either
from knit.core.words import in_days, in_hours

if TYPE_CHECKING:
    from knit.core.model.listing import Listed
    from knit.core.wanted import Edited
    from knit.flows.edit_list import EditList
    from knit.ports.list import Certs

SHOWN = 3
"""Revocations that a person is shown; `--json` tells all."""

F = TypeVar("F", bound=Callable[..., Any])
REQUIRED = ("domains", "provider", "valkey_key", "cert_path", "key_path")


def options(command: F) -> F:
    """The flags of everything that a certificate has beside its names."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def _no_staple(_: click.Context, __: click.Parameter, asked: object) -> None:
    if asked:
        raise click.UsageError(
            "--must-staple cannot be had: it has servers staple OCSP answers, which Let's Encrypt gives no more since "
            "2025; it refuses such orders, and clients would refuse such a certificate"
        )


OPTIONS: tuple[Callable[[F], F], ...] = (
    click.option(
        "--provider",
        metavar="CODE",
        help="DNS provider by lego's code; code@account for a second account; none where no proof is asked for.",
        shell_complete=complete.providers,
    ),
    click.option("--valkey-key", metavar="KEY", help="Valkey key to publish under."),
    click.option("--cert-path", metavar="PATH", help="File of the full chain on the nodes."),
    click.option("--key-path", metavar="PATH", help="File of the private key on the nodes."),
    click.option(
        "--issuer",
        metavar="A,B",
        help="Who issues it: the first, unless it is down.  [default: as configured]",
        shell_complete=complete.issuers,
    ),
    click.option(
        "--key-type",
        metavar="TYPE",
        help=f"{either(KeyType)}.  [default: the issuer's, else ec256]",
        shell_complete=complete.key_types,
    ),
    click.option("--profile", metavar="NAME", help="Certificate profile of the CA."),
    click.option("--renew-before", metavar="DURATION", help="Renew with so much life left, for example 30d or 36h."),
    click.option("--preferred-chain", metavar="CN", help="Of several chains, one issued under this common name."),
    click.option("--reuse-key/--no-reuse-key", default=None, help="Keep the key from one renewal to the next."),
    click.option(
        "--allow-staging/--no-allow-staging",
        default=None,
        help="Let a certificate for trials take the place of a trusted one.",
    ),
    click.option("--must-staple", is_flag=True, hidden=True, expose_value=False, callback=_no_staple),
)


@click.command(
    cls=Command,
    epilog="The identity of a certificate is its set of names: adding the same names again changes what is given and "
    "keeps the rest. `knit set` changes one option, or the names.",
)
@click.option("--domains", metavar="A,B", help="Names, the first one is primary; *.example.org is a wildcard.")
@options
@json_flag
def add_command(*, as_records: bool, **given: str | bool | None) -> None:
    """Add a certificate to the list, or change the one with these names; this also enables it."""
    from knit.cli.change import change_from, typed_of

    texts, switches = typed_of(given)
    typed = {name: text for name, text in texts.items() if text}
    missing = [f"--{name.replace('_', '-')}" for name in REQUIRED if name not in typed]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)}", click.get_current_context())
    change = change_from(typed, switches)
    with _editing(quiet=as_records) as (edit, certs):
        edited = edit.add(change)
        cert = certs.one(edited.id)
    tell(edited, cert, as_records=as_records)
    if edited.before is None and for_people() and not as_records:
        click.echo(f"`knit renew --id {cert.id} --wait` follows its issuance to the end.")


@click.command(
    cls=Command,
    epilog="An option given as '' goes back to its default. Other names make the certificate due, and so do another "
    "key type, profile or issuer; another key or path publishes what there is under it.",
)
@selecting
@click.option("--add-names", metavar="A,B", help="Names to add, after those it has.")
@click.option("--remove-names", metavar="A,B", help="Names to take away.")
@options
@json_flag
def set_command(*, cert_id: int | None, domains: str | None, as_records: bool, **given: str | bool | None) -> None:
    """Change what is given about a certificate, and nothing else."""
    from knit.cli.change import change_from, typed_of

    check_selection(cert_id, domains)
    typed, switches = typed_of(given)
    if not typed and not switches:
        raise click.UsageError("nothing to change is given", click.get_current_context())
    change = change_from(typed, switches)
    with _editing(quiet=as_records) as (edit, certs):
        edited = edit.change(selected(certs, cert_id, domains), change)
        cert = certs.one(edited.id)
    tell(edited, cert, as_records=as_records)


@click.command(cls=Command)
@selecting
@json_flag
def remove_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Remove a certificate. A pass takes it out of Valkey; files on nodes stay."""
    cert = _change(cert_id, domains, lambda certs, one: certs.remove(one.id), quiet=as_records)
    _say("removed", cert, as_records=as_records)


@click.command(cls=Command)
@selecting
@json_flag
def enable_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Take a disabled certificate up again."""
    cert = _change(cert_id, domains, lambda certs, one: certs.switch(one.id, enabled=True), quiet=as_records)
    _say("enabled", cert, as_records=as_records, enabled=True)


@click.command(cls=Command)
@selecting
@json_flag
def disable_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Keep a certificate on the list without renewing it; a pass takes it out of Valkey."""
    cert = _change(cert_id, domains, lambda certs, one: certs.switch(one.id, enabled=False), quiet=as_records)
    _say("disabled", cert, as_records=as_records, enabled=False)
    if cert.imported and not as_records:
        click.echo("knit keeps no copy of it: `knit enable` needs its import again (`knit import pem`)")


@click.command(
    cls=Command, epilog="NAME is a name, a domain that names are below, or a pattern. The exit code does not judge."
)
@click.argument("wanted", metavar="[NAME]...", nargs=-1, shell_complete=complete.names)
@click.option("--failing", is_flag=True, help="Only those with something wrong.")
@click.option("--due", is_flag=True, help="Only those that the next pass has to do with.")
@click.option("--wide", is_flag=True, help="All columns, however long the lines get.")
@json_flag
def list_command(*, wanted: tuple[str, ...], failing: bool, due: bool, wide: bool, as_records: bool) -> None:
    """List the certificates, or some of them."""
    now = datetime.now(UTC)
    with connected(settings()) as console:
        every = console.certs.listing()
    found = [
        cert
        for cert in every
        if listed.matches(cert, wanted) and (cert.failing or not failing) and (not due or listed.is_due(cert, now))
    ]
    if as_records:
        as_json([of_certificate(cert) for cert in found])
    elif not found:
        click.echo("no certificate matches" if every else "no managed certs")
    else:
        table = listed.wide(found, now) if wide else listed.for_a_person(found, now) if for_people() else None
        click.echo("\n".join(listed.plain(found) if table is None else table))


@click.command(cls=Command)
@click.argument("which", metavar="NAME|ID", shell_complete=complete.names_and_ids)
@json_flag
def show_command(*, which: str, as_records: bool) -> None:
    """Tell one certificate's story: what is wanted, how it is, and what has happened to it, and by whom."""
    from knit.cli import revocations, story
    from knit.core.records import of_event, of_revocation
    from knit.flows.history import every

    with connected(settings()) as console:
        cert = named(console.certs, which)
        tries, events = console.certs.tries(cert.id), every(console.events, cert.id)
        taken_back = console.revocations.of(cert.id)
        spreads = console.served.spreads(cert.id, most=0)
    if as_records:
        happened = [of_event(event) for event in reversed(events)]
        attempts = [asdict(one) for one in tries]
        revoked = [of_revocation(one) for one in taken_back]
        nodes = {"nodes": spreads[0].nodes, "served_by": spreads[0].fine} if spreads else {"nodes": 0, "served_by": 0}
        as_json({**of_certificate(cert), **nodes, "attempts": attempts, "revocations": revoked, "events": happened})
    else:
        lines = listed.block(cert, datetime.now(UTC))
        lines += [f"   {'revocation':<10} {revocations.words(one)}" for one in taken_back[:SHOWN]]
        lines += [f"   {'served by':<10} {one.fine} of {one.nodes} nodes" for one in spreads if one.nodes]
        click.echo("\n".join([*lines, *story.story(tries, events, used=len(lines))]))


@contextmanager
def _editing(*, quiet: bool) -> Iterator[tuple[EditList, Certs]]:
    with changing(settings(), quiet=quiet) as console:
        yield console.edit, console.certs


def tell(edited: Edited, cert: Listed, *, as_records: bool, word: str | None = None) -> None:
    """Say what an edit has done, each difference on a line of its own."""
    differences = edited.differences
    word = word or ("added" if edited.before is None else "changed" if differences else "unchanged")
    if as_records:
        changed = {name: {"from": _plain(old), "to": _plain(new)} for name, (old, new) in differences.items()}
        as_json({"result": word, **of_certificate(cert), "changed": changed})
        return
    _say(word, cert, as_records=False)
    for name, (old, new) in differences.items():
        click.echo(f"  {name}: {_shown(old)} -> {_shown(new)}")


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return in_hours(value)
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    plain = in_days(value) if isinstance(value, timedelta) else _plain(value)
    if isinstance(plain, list):
        return clean(", ".join(plain))
    return str(plain).lower() if isinstance(plain, bool) else "-" if plain in (None, "") else clean(str(plain))


def _change(cert_id: int | None, domains: str | None, act: Callable[[Certs, Listed], None], *, quiet: bool) -> Listed:
    """Do something to the selected certificate; gives what the list said of it before."""
    check_selection(cert_id, domains)
    with changing(settings(), quiet=quiet) as console:
        cert = console.certs.one(selected(console.certs, cert_id, domains))
        act(console.certs, cert)
    return cert


def _say(what: str, cert: Listed, *, as_records: bool, **changed: object) -> None:
    record: Mapping[str, object] = {"result": what, **of_certificate(cert), **changed}
    if as_records:
        as_json(record)
    else:
        names = ", ".join(map(clean, cert.names))
        click.echo(f"{what} certificate {cert.id}: {names} ({clean(cert.valkey_key)})")
