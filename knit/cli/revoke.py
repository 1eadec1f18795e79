"""revoke: have a certificate's CA take it back."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, instant, json_flag
from knit.cli.revocations import words
from knit.cli.selection import check_selection, selected, selecting
from knit.cli.session import connected, settings
from knit.core.imported import IMPORTED
from knit.core.records import of_revocation
from knit.core.revocation import COMPROMISED, OVER, REASONS, Wish, course

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.listing import Listed
    from knit.core.model.revocation import Revocation
    from knit.settings.central import Central


@click.command(
    cls=Command,
    names_by="--domains",
    epilog="Without --replace and --no-replace, another certificate comes first, but for cessationOfOperation and for "
    "disabled certificates. After keyCompromise, no key that the certificate has had is ever published again. "
    "cessationOfOperation without another certificate also disables it, for nothing is to be ordered any more.",
)
@selecting
@click.option("--serial", metavar="HEX", help="Or its serial number, also of one that has another in its place.")
@click.option(
    "--reason",
    required=True,
    type=click.Choice(REASONS, case_sensitive=False),
    metavar="REASON",
    help=f"{', '.join(REASONS)}.",
)
@click.option(
    "--replace/--no-replace",
    default=None,
    help="Publish another certificate first, and then revoke; or revoke at once.",
)
@click.option("--issuer", metavar="NAME", help="Whom to ask, about a certificate that knit did not order.")
@click.option("--wait", is_flag=True, help="Tell each step until it is revoked, or is not for now.")
@json_flag
def revoke_command(
    *,
    cert_id: int | None,
    domains: str | None,
    serial: str | None,
    reason: str,
    replace: bool | None,
    issuer: str | None,
    wait: bool,
    as_records: bool,
) -> int:
    """Revoke what is published of a certificate: its CA says so to whoever asks, and it stays revoked."""
    _check(cert_id, domains, serial)
    central = settings()
    wish = Wish(reason=reason, replace=replace, issuer=issuer, directory=_directory(central, issuer))
    decide = partial(course, wish=wish, now=datetime.now(UTC))
    with connected(central) as console:
        before = None if serial else console.certs.one(selected(console.certs, cert_id, domains))
        if before is not None and before.directory == IMPORTED and reason == COMPROMISED:
            # Whether or not its CA can be asked: that its key is never taken again is knit's to see to.
            console.compromise(before.id)
        asked = console.revocations.ask(_number(serial) if before is None else before.id, decide)
        nobody = None
        if asked.state == "wanted":
            console.bell.change()
            nobody = _done(central, console, before, asked, wait=wait)
        one = console.revocations.one(asked.id) or asked
        now = None if before is None else console.certs.one(before.id)
    return _report(one, before, now, nobody, as_records=as_records)


def _check(cert_id: int | None, domains: str | None, serial: str | None) -> None:
    if serial is None:
        check_selection(cert_id, domains)
    elif cert_id or domains:
        raise click.UsageError("exactly one of --id, --domains and --serial is needed", click.get_current_context())


def _number(serial: str | None) -> str:
    """As recorded: colons, as openssl writes them, and zeros before it are left out."""
    text = (serial or "").replace(":", "").strip()
    try:
        return f"{int(text, 16):x}"
    except ValueError:
        raise click.BadParameter(f"{serial!r} must be a hexadecimal number", param_hint="--serial") from None


def _directory(central: Central, issuer: str | None) -> str | None:
    from knit.errors import Misconfigured

    if issuer is None:
        return None
    terms = central.rules.terms(issuer)
    if terms is None or terms.kind != "acme":
        raise Misconfigured(f"issuer {issuer!r} is none of kind acme that is configured here")
    return terms.directory


def _done(central: Central, console: Console, before: Listed | None, asked: Revocation, *, wait: bool) -> str | None:
    """Have it done; gives why nobody is going to do it."""
    from knit.cli import revoking

    if central.queue_url is None:
        revoking.here(console, before, asked, wait=wait)
        return None
    with closing(revoking.post(central.queue_url, asked)) as post:
        return revoking.by_workers(post, console, before, asked, wait=wait)


def _report(one: Revocation, before: Listed | None, now: Listed | None, nobody: str | None, *, as_records: bool) -> int:
    """Print it, and give the exit code: a wish that workers have is no failure."""
    vain = one.waits and before is not None and now is not None and now.failures > before.failures
    failed = one.state == "refused" or one.error is not None or nobody is not None or vain
    names = one.names_key.split(",")
    if as_records:
        why = nobody or (now.last_error if now is not None and vain else None)
        more = {} if why is None else {"error": why}
        facts = {"result": "failed" if failed and one.state == "wanted" else one.state.value, "id": one.cert_id}
        as_json({**facts, "domains": names, **of_revocation(one), **more})
    else:
        after = None if before is None or now is None else _next(one, before, now, vain=vain)
        what = "; ".join(part for part in (words(one), nobody, after) if part)
        click.echo(f"certificate {one.cert_id} ({clean(', '.join(names))}): {what}", err=failed)
    return FAILED if failed else DONE


def _next(one: Revocation, before: Listed, now: Listed, *, vain: bool) -> str | None:
    """What nodes go on serving, and what happens to that. `vain`: the one that was to come first has failed."""
    if vain:
        said = f"{clean(now.last_error or 'see the log')}; next try {instant(now.retry_at)}"
        return f"that has failed: {said}; --no-replace revokes at once"
    if one.state == "refused" or one.waits:
        return None
    if one.replace and now.enabled:
        return f"another one is published, valid until {instant(now.not_after)}"
    if not now.enabled:
        ceased = " by this command" if before.enabled and one.reason == OVER else ""
        return f"it is disabled{ceased}, so nothing is ordered for it; nodes keep its files"
    if now.imported:
        return "nodes go on serving it until `knit import pem` brings another"
    return (
        "nodes go on serving it until another is published, which comes when its CA asks for it or its time comes; "
        f"`knit renew --id {now.id} --force --again` orders it now, `knit disable --id {now.id}` none at all"
    )
