"""add, remove, list, enable, disable: what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from knit.cli import listed
from knit.cli.flags import Command
from knit.cli.output import as_json, clean, for_people, json_flag
from knit.cli.session import check_selection, opened, selected, selecting, settings

if TYPE_CHECKING:
    from knit.store.certs import Certs, Listed

REQUIRED = ("domains", "provider", "valkey_key", "cert_path", "key_path")


@click.command(
    cls=Command,
    epilog="The identity of a certificate is its set of names: adding the same names again changes the rest.",
)
@click.option("--domains", metavar="A,B", help="Names, the first one is primary; *.example.org is a wildcard.")
@click.option("--provider", metavar="CODE", help="DNS provider by lego's code; code@account for a second account.")
@click.option("--valkey-key", metavar="KEY", help="Valkey key to publish under.")
@click.option("--cert-path", metavar="PATH", help="File of the full chain on the nodes.")
@click.option("--key-path", metavar="PATH", help="File of the private key on the nodes.")
@click.option("--issuer", metavar="NAME", help="Who issues it.  [default: acme]")
@click.option("--key-type", metavar="TYPE", help="ec256, ec384, rsa2048, rsa3072 or rsa4096.  [default: ec256]")
@click.option("--profile", metavar="NAME", help="Certificate profile of the CA.")
@click.option("--renew-before", metavar="DURATION", help="Renew with so much life left, for example 720h.")
@click.option("--preferred-chain", metavar="CN", help="Of several chains, the one whose root has this common name.")
@json_flag
def add_command(*, as_records: bool, **given: str | None) -> None:
    """Add a certificate to the list, or change the one with these names; this also enables it."""
    from knit.cli.wanted import new_cert

    typed = {name: text.strip() for name, text in given.items() if text is not None and text.strip()}
    missing = [f"--{name.replace('_', '-')}" for name in REQUIRED if name not in typed]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)}", click.get_current_context())
    central = settings()
    wanted = new_cert(typed)
    with opened(central) as certs:
        added = certs.add(wanted)
        cert = certs.one(added.id)
    _say("added" if added.created else "changed", cert, as_records=as_records)
    if for_people() and not as_records:
        click.echo(f"The next pass issues it; `knit renew --id {cert.id} --wait` does so now.")


@click.command(cls=Command)
@selecting
@json_flag
def remove_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Remove a certificate. The next pass takes it out of Valkey; files on nodes stay."""
    cert = _change(cert_id, domains, lambda certs, one: certs.remove(one.id))
    _say("removed", cert, as_records=as_records)


@click.command(cls=Command)
@selecting
@json_flag
def enable_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Take a disabled certificate up again."""
    cert = _change(cert_id, domains, lambda certs, one: certs.switch(one.id, enabled=True))
    _say("enabled", cert, as_records=as_records, enabled=True)


@click.command(cls=Command)
@selecting
@json_flag
def disable_command(*, cert_id: int | None, domains: str | None, as_records: bool) -> None:
    """Keep a certificate on the list without renewing it; the next pass takes it out of Valkey."""
    cert = _change(cert_id, domains, lambda certs, one: certs.switch(one.id, enabled=False))
    _say("disabled", cert, as_records=as_records, enabled=False)


@click.command(cls=Command, lenient=True)
@json_flag
def list_command(*, as_records: bool) -> None:
    """List the certificates."""
    with opened(settings()) as certs:
        found = certs.listing()
    if as_records:
        as_json([listed.record(cert) for cert in found])
    elif not found:
        click.echo("no managed certs")
    elif for_people():
        click.echo("\n".join(listed.for_a_person(found, datetime.now(UTC))))
    else:
        click.echo("\n".join(listed.plain(found)))


def _change(cert_id: int | None, domains: str | None, act: Callable[[Certs, Listed], None]) -> Listed:
    """Do something to the selected certificate; gives what the list said of it before."""
    check_selection(cert_id, domains)
    with opened(settings()) as certs:
        cert = certs.one(selected(certs, cert_id, domains))
        act(certs, cert)
    return cert


def _say(what: str, cert: Listed, *, as_records: bool, **changed: object) -> None:
    record: Mapping[str, object] = {"result": what, **listed.record(cert), **changed}
    if as_records:
        as_json(record)
    else:
        names = ", ".join(map(clean, listed.names(cert)))
        click.echo(f"{what} certificate {cert.id}: {names} ({clean(cert.valkey_key)})")
