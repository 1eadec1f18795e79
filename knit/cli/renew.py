"""renew: the daemon, one whole pass, or one certificate now."""

from __future__ import annotations

import gc
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.flags import Command
from knit.cli.issuers import directory_of
from knit.cli.output import instant, json_flag
from knit.cli.result import Result, report
from knit.cli.session import check_selection, connected, listed_in, selected, selecting, settings
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.model import CertId, Outcome, Policy
    from knit.settings.central import Central
    from knit.store.certs import Certs, Listed
    from knit.store.database import Database


@click.command(
    cls=Command,
    lenient=True,
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
@click.option("--wait", is_flag=True, help="With --id or --domains: until it is published, or has failed.")
@json_flag
def renew_command(
    *,
    once: bool,
    cert_id: int | None,
    domains: str | None,
    force: bool,
    again: bool,
    key_compromised: bool,
    wait: bool,
    as_records: bool,
) -> int:
    """Renew what is due, again and again (scheduler and workers in this process); or one certificate now."""
    if not (cert_id or domains):
        _refuse(
            {
                "--key-compromised": key_compromised,
                "--force": force,
                "--again": again,
                "--wait": wait,
                "--json": as_records,
            },
            "with --id or --domains",
        )
        return _pass() if once else _daemon()
    check_selection(cert_id, domains)
    _refuse({"--once": once}, "without --id and --domains")
    _refuse({"--again": again and not force}, "with --force")
    central = settings()
    with connected(central) as database:
        directory = directory_of(database, central, here=central.queue_url is None)
        certs = listed_in(database, central)
        before = _renewable(certs, selected(certs, cert_id, domains))
        if key_compromised:
            _declare_compromised(database, before)
        elif force:
            _not_again(before, again=again)
        if force or key_compromised:
            certs.request_renewal(before.id)
        if central.queue_url is None:
            result = _here(certs, before)
        else:
            policy = replace(central.policy, directory=directory)
            later = _later(database, policy, before) if wait else Result(word="queued")
            _send(central, before.id, force=force or key_compromised)
            result = later or _followed(certs, before)
    return report(result, before, as_records=as_records)


def _refuse(flags: dict[str, bool], where: str) -> None:
    for flag, given in flags.items():
        if given:
            raise click.UsageError(f"{flag} goes only {where}", click.get_current_context())


def _pass() -> int:
    from knit.log import setup
    from knit.settings.central import Worker
    from workers.once import once

    env = Environment.of_process()
    worker = Worker.read(env, queue_required=False)
    setup(worker.log_level)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    central = settings()
    with connected(central) as database:
        directory_of(database, central, here=True)
        failed = once(worker, env, database)
        astray = listed_in(database, central).astray()
    if failed or astray:
        counts = f"failed: {failed}, not as wanted: {astray}"
        click.echo(f"knit: the pass is done; {counts} (`knit list --failing` says why)", err=True)
    return FAILED if failed or astray else DONE


def _daemon() -> int:
    from knit.log import setup
    from knit.settings.central import Scheduling, Worker
    from workers import local

    env = Environment.of_process()
    worker, scheduling = Worker.read(env, queue_required=False), Scheduling.read(env, queue_required=False)
    setup(worker.log_level)
    # Python's own default again: this process stays.
    gc.set_threshold(700)
    local.forever(worker, scheduling, env)
    return DONE


def _renewable(certs: Certs, cert_id: CertId) -> Listed:
    """Raises Refused when no worker would touch it."""
    from knit.errors import Refused

    cert = certs.one(cert_id)
    if not cert.enabled:
        raise Refused(f"certificate {cert.id} is disabled: `knit enable --id {cert.id}` first")
    if not cert.adopted and cert.last_error:
        raise Refused(f"certificate {cert.id} is {cert.last_error}")
    return cert


def _declare_compromised(database: Database, cert: Listed) -> None:
    from knit.errors import Refused
    from knit.store.installation import Installations

    if not Installations(database).compromise(cert.id):
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


def _followed(certs: Certs, before: Listed) -> Result:
    from knit.cli.progress import follow

    return follow(certs, before)


def _later(database: Database, policy: Policy, cert: Listed) -> Result | None:
    """Not due, where no worker will find it due: then there is nothing to wait for."""
    from knit.core.model import Wait
    from knit.core.renewal import decide
    from knit.store.attempts import load

    known = load(database, cert.id)
    if known.spec is None:
        return None
    verdict = decide(known.spec, known.state, policy, datetime.now(UTC))
    return _not_due(cert, verdict.until) if isinstance(verdict, Wait) else None


def _not_due(cert: Listed, until: datetime) -> Result:
    """A certificate that waits after a failure, or has never been issued, is not as wanted, whatever it waits for."""
    if cert.failing or cert.published_at is None:
        why = cert.last_error or "it has never been issued"
        return Result(word="failed", error=f"{why} (nothing was tried now; `--force` tries at once)", until=until)
    return Result(word="not due", until=until)


def _send(central: Central, cert_id: CertId, *, force: bool) -> None:
    from knit import messages
    from knit.errors import CredentialsRejected, Unreachable

    assert central.queue_url is not None
    kept = f"; the request is recorded: the next pass renews certificate {cert_id}" if force else ""
    queue = messages.connect(central.queue_url)
    try:
        queue.send(messages.renew(cert_id))
    except (CredentialsRejected, Unreachable) as error:
        raise type(error)(f"KNIT_QUEUE_URL: {error}{kept}") from None
    finally:
        queue.close()


def _here(certs: Certs, before: Listed) -> Result:
    from knit.cli.progress import told
    from knit.settings.central import Worker
    from workers import local

    env = Environment.of_process()
    worker = Worker.read(env, queue_required=False)
    # As Ctrl-C: threads are stopped in order and challenge records are taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with told(certs, before):
        outcome = local.one(worker, env, before.id)
    return _result(outcome, before, certs.one(before.id))


def _result(outcome: Outcome | None, before: Listed, now: Listed) -> Result:
    from knit.core.model import Failed, Skipped

    match outcome:
        case Skipped(until=until, reason=reason):
            return Result(word="skipped", error=reason) if until is None else _not_due(now, until)
        case Failed(error=error, retry_at=retry_at):
            return Result(word="failed", error=error, until=retry_at)
    if now.published_at is not None and now.published_at != before.published_at:
        return Result(word="published", not_after=now.not_after)
    return Result(word="failed", error=now.last_error or "issued, but not published: the log says why")
