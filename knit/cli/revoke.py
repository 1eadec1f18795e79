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
from knit.cli.revocations import record, words
from knit.cli.selection import check_selection, selected, selecting
from knit.cli.session import connected, settings
from knit.core.imported import IMPORTED
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
@click.option("--reason", required=True, type=click.Choice(REASONS), metavar="REASON", help=f"{', '.join(REASONS)}.")
@click.option(
    "--replace/--no-replace",
    default=None,
    help="Publish another certificate first, and then revoke; or revoke at once.",
)
@click.option("--wait", is_flag=True, help="Tell each step until it is revoked, or is not for now.")
@json_flag
def revoke_command(
    *, cert_id: int | None, domains: str | None, reason: str, replace: bool | None, wait: bool, as_records: bool
) -> int:
    """Revoke what is published of a certificate: its CA says so to whoever asks, and it stays revoked."""
    check_selection(cert_id, domains)
    central = settings()
    wish = Wish(reason=reason, replace=replace)
    with connected(central) as console:
        before = console.certs.one(selected(console.certs, cert_id, domains))
        if before.directory == IMPORTED and reason == COMPROMISED:
            # Its CA is asked by a person; that its key is never taken again is knit's to see to.
            console.compromise(before.id)
        asked = console.revocations.ask(before.id, partial(course, wish=wish, now=datetime.now(UTC)))
        nobody = None
        if asked.state == "wanted":
            console.bell.change()
            nobody = _done(central, console, before, asked, wait=wait)
        one, now = console.revocations.one(asked.id) or asked, console.certs.one(before.id)
    return _report(one, before, now, nobody, as_records=as_records)


def _done(central: Central, console: Console, before: Listed, asked: Revocation, *, wait: bool) -> str | None:
    """Have it done; gives why nobody is going to do it."""
    from knit.cli import revoking

    if central.queue_url is None:
        revoking.here(console, before, asked, wait=wait)
        return None
    with closing(revoking.post(central.queue_url, asked)) as post:
        return revoking.by_workers(post, console, before, asked, wait=wait)


def _report(one: Revocation, before: Listed, now: Listed, nobody: str | None, *, as_records: bool) -> int:
    """Print it, and give the exit code: a wish that workers have is no failure."""
    failed = one.state == "refused" or one.error is not None or nobody is not None or (one.waits and _vain(before, now))
    if as_records:
        more = {"error": now.last_error} if one.waits and _vain(before, now) else {}
        facts = {"result": one.state.value if one.state != "wanted" or not failed else "failed", "id": now.id}
        as_json({**facts, "domains": now.names, **record(one), **more})
    else:
        what = "; ".join(part for part in (words(one), nobody, _next(one, before, now)) if part)
        click.echo(f"certificate {now.id} ({clean(', '.join(now.names))}): {what}", err=failed)
    return FAILED if failed else DONE


def _vain(before: Listed, now: Listed) -> bool:
    """Whether the certificate that was to come first has failed meanwhile."""
    return now.failures > before.failures


def _next(one: Revocation, before: Listed, now: Listed) -> str | None:
    """What nodes go on serving, and what happens to that."""
    if one.state == "refused":
        return None
    if one.waits and _vain(before, now):
        said = f"{clean(now.last_error or 'see the log')}; next try {instant(now.retry_at)}"
        return f"that has failed: {said}; --no-replace revokes at once"
    if one.waits:
        return None
    if one.replace and now.enabled:
        return f"another one is published, valid until {instant(now.not_after)}"
    if not now.enabled:
        ceased = " by this command" if before.enabled and one.reason == OVER else ""
        return f"it is disabled{ceased}, so nothing is ordered for it; nodes keep its files"
    return (
        "nodes go on serving it until another is published, which comes when its CA asks for it or its time comes; "
        f"`knit renew --id {now.id} --force --again` orders it now, `knit disable --id {now.id}` none at all"
    )
