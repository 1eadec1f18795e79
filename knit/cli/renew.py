"""renew: the daemon, one whole pass, or one certificate now."""

from __future__ import annotations

import gc
import signal
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import Command
from knit.cli.issuers import rules_of
from knit.cli.output import instant, json_flag
from knit.cli.result import Result, report
from knit.cli.selection import check_selection, selected, selecting
from knit.cli.session import connected, settings
from knit.cli.status import Within
from knit.settings.environment import Environment
from knit.signals import leave, pass_over

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.certificate import CertId
    from knit.core.model.listing import Listed
    from knit.ports.list import Certs
    from knit.settings.central import Central


@click.command(
    cls=Command,
    names_by="--domains",
    epilog="Without KNIT_QUEUE_URL everything runs in this process; with it, workers do one certificate's renewal.",
)
@click.option("--once", is_flag=True, help="One whole pass, then exit; 1 while any certificate is not as wanted.")
@selecting
@click.option("--force", is_flag=True, help="With --id or --domains: renew it though it is not due.")
@click.option(
    "--key-compromised",
    is_flag=True,
    help="With --id or --domains: as --force, and no key it has had so far is ever published again.",
)
@click.option("--again", is_flag=True, help="With --force: though it was renewed within the last day.")
@click.option(
    "--confirm-mass",
    is_flag=True,
    help="Let all certificates go that are held back because many are due at once; also with --once.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Tell each step until the end; with --id or --domains, until it is published or has failed.",
)
@click.option(
    "--served",
    is_flag=True,
    help="With --wait, and --id or --domains: until every node that takes it serves it.",
)
@click.option(
    "--timeout", type=Within(), default="10m", metavar="D", show_default=True, help="Longest wait of --served."
)
@json_flag
def renew_command(
    *,
    once: bool,
    cert_id: int | None,
    domains: str | None,
    force: bool,
    again: bool,
    key_compromised: bool,
    confirm_mass: bool,
    wait: bool,
    served: bool,
    timeout: timedelta,
    as_records: bool,
) -> int:
    """Renew what is due, again and again (scheduler and workers in this process); or one certificate now."""
    if not (cert_id or domains):
        _refuse(
            {
                "--key-compromised": key_compromised,
                "--force": force,
                "--again": again,
                "--json": as_records,
                "--served": served,
            },
            "with --id or --domains",
        )
        _refuse({"--wait": wait and not once}, "with --once, --id or --domains")
        if confirm_mass:
            _confirm_mass(once=once)
            if not once:
                return DONE
        return _pass(wait=wait) if once else _daemon()
    check_selection(cert_id, domains)
    _refuse({"--once": once, "--confirm-mass": confirm_mass}, "without --id and --domains")
    _refuse({"--again": again and not force}, "with --force")
    _refuse({"--served": served and not wait}, "with --wait")
    central = settings()
    with connected(central) as console:
        rules_of(console, central, here=central.queue_url is None)
        certs = console.certs
        before = _renewable(certs, selected(certs, cert_id, domains))
        if key_compromised:
            _declare_compromised(console, before)
        elif force:
            _not_again(before, again=again)
        if force or key_compromised:
            certs.request_renewal(before.id)
        result = _renewed(central, console, before, wait=wait)
        if served and not result.failed:
            result = _served(console, before, timeout, result)
    return report(result, before, as_records=as_records)


def _confirm_mass(*, once: bool) -> None:
    from knit.cli.waking import changing

    with changing(settings(), quiet=once) as console:
        held_back = console.bell.confirm_mass()
    click.echo(f"{held_back} held back: all may go, as fast as the CA's limits allow, for a day")


def _served(console: Console, cert: Listed, within: timedelta, before: Result) -> Result:
    """How it is on the nodes, once it is published."""
    from knit.cli.status import ALL, followed, reason

    (spread,) = followed(console.status(time.sleep), cert.id, within, ALL).spreads
    if spread.served:
        return replace(before, word="served", not_after=spread.current.not_after, more={"nodes": spread.nodes})
    reasons = [reason(one) for one in spread.behind]
    more = {"nodes": spread.nodes, "fine": spread.fine}
    return replace(before, word="not served", error="; ".join([spread.lack or "", *reasons[:3]]), more=more)


def _renewed(central: Central, console: Console, before: Listed, *, wait: bool) -> Result:
    from knit.cli import renewing

    if central.queue_url is None:
        return renewing.here(console, before, wait=wait)
    from knit.queue import messages

    with closing(renewing.Post(central.queue_url, messages.renew(before.id))) as post:
        return renewing.by_workers(post, console, before, wait=wait)


def _refuse(flags: dict[str, bool], where: str) -> None:
    for flag, given in flags.items():
        if given:
            raise click.UsageError(f"{flag} goes only {where}", click.get_current_context())


def _pass(*, wait: bool) -> int:
    from knit.cli.progress import told
    from knit.cli.renewing import interruptible
    from knit.log import setup
    from knit.settings.central import Worker
    from workers.once import once

    env = Environment.of_process()
    worker = Worker.read(env, queue_required=False)
    setup(worker.log_level)
    central = settings()
    with connected(central) as console:
        rules_of(console, central, here=True)
        centre = console.centre
        with interruptible(centre.roll()), told(centre, console.events, None, asked=True) if wait else nullcontext():
            failed = once(worker, env, console)
        astray = console.certs.astray()
    if failed or astray:
        counts = f"failed: {failed}, not as wanted: {astray}"
        click.echo(f"knit: the pass is done; {counts} (`knit list --failing` says why)", err=True)
    return FAILED if failed or astray else DONE


def _daemon() -> int:
    # A start makes a pass anyway.
    pass_over(signal.SIGHUP)
    leave()
    from knit.log import setup
    from knit.settings.central import Scheduling, Worker
    from scheduler.main import serve
    from workers import local

    env = Environment.of_process()
    worker, scheduling = Worker.read(env, queue_required=False), Scheduling.read(env, queue_required=False)
    setup(worker.log_level)
    # Python's own default again: this process stays.
    gc.set_threshold(700)
    local.forever(worker, scheduling, env, serve)
    return DONE


def _renewable(certs: Certs, cert_id: CertId) -> Listed:
    """Raises Refused when no worker would touch it."""
    from knit.errors import Refused

    cert = certs.one(cert_id)
    if cert.imported:
        why = "knit did not order it, and orders nothing for it: `knit import pem` takes its successor"
        raise Refused(f"certificate {cert.id} is imported: {why}")
    if not cert.enabled:
        raise Refused(f"certificate {cert.id} is disabled: `knit enable --id {cert.id}` first")
    if not cert.adopted and cert.last_error:
        raise Refused(f"certificate {cert.id} is {cert.last_error}")
    return cert


def _declare_compromised(console: Console, cert: Listed) -> None:
    from knit.errors import Refused

    if not console.compromise(cert.id):
        why = "no key of it is known here; a whole pass (`knit renew --once`) looks at what is published"
        raise Refused(f"certificate {cert.id}: {why}")


def _not_again(cert: Listed, *, again: bool) -> None:
    """Raise Refused for a second certificate within a day, unless it is meant."""
    from knit.errors import Refused

    done = cert.last_renewed
    if again or done is None or datetime.now(UTC) - done > timedelta(days=1):
        return
    raise Refused(
        f"certificate {cert.id} was renewed at {instant(done)}, less than a day ago: another one costs one of the few "
        "that a CA gives for the same names (Let's Encrypt: 5 a week, and then none for days); "
        "`--force --again` orders it nevertheless"
    )
