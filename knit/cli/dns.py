"""dns check: whether an order for this name would succeed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.flags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, json_flag, styled
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.facts import Facts
    from knit.core.findings import Finding
    from knit.dns.check import Probe
    from knit.ports import Sleep
    from knit.ports.solving import Exclusive
    from knit.providers.base import Runtime
    from knit.settings.central import Acme

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.group(name="dns", cls=Group, no_args_is_help=False, context_settings=ANSWERS_HELP)
def dns_command() -> None:
    """Look at the DNS as an order would."""


@dns_command.command(
    cls=Command,
    name="check",
    epilog="With --provider it also writes a probe value at the name, waits until it is seen, and deletes it.",
)
@click.argument("name", metavar="NAME")
@click.option("--provider", metavar="CODE", help="Also try what this provider's credentials may do.")
@json_flag
def check(*, name: str, provider: str | None, as_records: bool) -> int:
    """Check whether an order for NAME would succeed: delegation, servers, CAA, leftovers; 1 if it would not."""
    from knit.core.findings import failed
    from knit.core.names import normalise_one

    identifier = normalise_one(name)
    stop = Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    findings = _findings(identifier, provider, stop)
    if stop.is_set():
        raise KeyboardInterrupt
    if as_records:
        as_json([{"subject": f.subject, "verdict": f.verdict.value, "text": f.text} for f in findings])
    else:
        click.echo("\n".join(_lines(findings)))
    return FAILED if failed(findings) else DONE


def _lines(findings: Sequence[Finding]) -> list[str]:
    longest = max(len(finding.subject) for finding in findings)
    return [
        f"{styled(f'{f.verdict.value:<8}', fg=COLOURS[f.verdict.value])} {f.subject:<{longest}}  {clean(f.text)}"
        for f in findings
    ]


def _findings(identifier: str, provider: str | None, stop: Event) -> list[Finding]:
    from knit.dns.check import gather
    from knit.dns.delegation import DnsDelegation, Looking
    from knit.errors import Interrupted
    from knit.providers.base import Runtime
    from knit.providers.http.tls import Trust
    from knit.settings.central import Acme, Dns
    from knit.settings.table import refuse_unknown

    def sleep(seconds: float) -> None:
        """So that Ctrl-C still takes the probe value away."""
        if stop.wait(seconds):
            raise Interrupted("stopped by Ctrl-C")

    env = Environment.of_process()
    refuse_unknown(env)
    dns, acme = Dns.read(env), Acme.read(env)
    looking = Looking(
        resolvers=dns.resolvers,
        timeout=dns.timeout,
        recursive_check=dns.recursive_check,
        wait=dns.wait,
        follow_cname=dns.follow_cname,
    )
    trust = Trust(file=dns.ca_file, folders=dns.ca_folders)
    runtime = Runtime(clock=_now, sleep=sleep, resolvers=dns.resolvers or (), trust=trust)
    with ExitStack() as held:
        probe = None if provider is None else _probe(env, provider, runtime, held)
        facts = gather(identifier, DnsDelegation(looking, sleep), probe)
    return _judged(facts, env, acme, sleep)


def _probe(env: Environment, provider: str, runtime: Runtime, held: ExitStack) -> Probe:
    from knit.dns.check import Probe
    from knit.providers.registry import Registry, split

    solver = Registry(env, runtime).solver(provider)
    if sys.stderr.isatty():
        click.echo(f"writing a probe value; it may take {solver.timeout:.0f} s to be seen", err=True)
    return Probe(code=split(provider)[0], solver=solver, exclusive=_exclusive(env, runtime, held))


def _exclusive(env: Environment, runtime: Runtime, held: ExitStack) -> Exclusive:
    """Takes turns with the workers, where this machine knows their database."""
    from knit.app.locks import KeyedLocks, LeasedLocks
    from knit.settings.table import SETTINGS
    from knit.store.database import Database
    from knit.store.leases import Leases

    url = SETTINGS["KNIT_DB_URL"].read(env)
    if url is None:
        return KeyedLocks()
    leases = Leases(held.enter_context(Database.open(url)))
    held.callback(leases.stop)
    return LeasedLocks(leases, runtime.sleep)


def _now() -> datetime:
    return datetime.now(UTC)


def _judged(facts: Facts, env: Environment, acme: Acme, sleep: Sleep) -> list[Finding]:
    """The findings; where the CA does not say who it is, CAA records are shown instead of judged."""
    from knit.core.caa import Authority
    from knit.core.findings import Finding, Verdict, judge
    from knit.errors import KnitError
    from knit.issuers.acme.identities import caa_identities

    try:
        identities = caa_identities(acme.directory, acme.ca_files, _now, sleep)
    except KnitError as error:
        findings = [f for f in judge(facts, Authority(identities=frozenset(), account_uri=None)) if f.subject != "CAA"]
        return [*findings, Finding(subject="CA", verdict=Verdict.FAILED, text=str(error))]
    findings = judge(facts, Authority(identities=identities, account_uri=_account_uri(env, acme)))
    if identities or facts.caa.problem is not None or not facts.caa.records:
        return findings
    shown = "; ".join(map(str, facts.caa.records))
    text = f"{acme.directory} does not say under which names it looks for itself; {facts.caa.owner} has {shown}"
    return [Finding(subject="CAA", verdict=Verdict.WARNING, text=text) if f.subject == "CAA" else f for f in findings]


def _account_uri(env: Environment, acme: Acme) -> str | None:
    """Our account, where this machine knows the database."""
    from knit.settings.table import SETTINGS
    from knit.store.accounts import ISSUER, Accounts
    from knit.store.database import Database

    url = SETTINGS["KNIT_DB_URL"].read(env)
    if url is None:
        return None
    with Database.open(url) as database:
        account = Accounts(database).get(acme.directory, ISSUER)
    return None if account is None else account.uri
