"""dns check: whether an order for this name would succeed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

import click

from knit.cli import complete
from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, clean, json_flag, styled
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.findings import Finding

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.group(name="dns", cls=Group, no_args_is_help=False, context_settings=ANSWERS_HELP)
def dns_command() -> None:
    """Look at the DNS as an order would."""


@dns_command.command(
    cls=Command,
    name="check",
    short_help="Check whether an order for a name would succeed.",
    epilog="With --provider it also writes a probe value at the name, waits until it is seen, and deletes it.",
)
@click.argument("name", metavar="NAME", shell_complete=complete.names)
@click.option(
    "--provider",
    metavar="CODE",
    help="Also try what this provider's credentials may do.",
    shell_complete=complete.providers,
)
@click.option(
    "--issuer",
    metavar="NAME",
    help="From which the order would be.  [default: the first]",
    shell_complete=complete.issuers,
)
@json_flag
def check(*, name: str, provider: str | None, issuer: str | None, as_records: bool) -> int:
    """Check whether an order for NAME would succeed: delegation, servers, CAA, leftovers; 1 if it would not."""
    from knit.core.findings import failed
    from knit.core.names import normalise_one

    identifier = normalise_one(name)
    stop = Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    findings = _findings(identifier, provider, issuer, stop)
    if stop.is_set():
        raise KeyboardInterrupt
    if as_records:
        as_json([{"subject": f.subject, "verdict": f.verdict.value, "text": f.text} for f in findings])
    else:
        click.echo("\n".join(lines(findings)))
    return FAILED if failed(findings) else DONE


def lines(findings: Sequence[Finding]) -> list[str]:
    """One for each, its verdict first."""
    longest = max(len(finding.subject) for finding in findings)
    return [
        f"{styled(f'{f.verdict.value:<8}', fg=COLOURS[f.verdict.value])} {f.subject:<{longest}}  {clean(f.text)}"
        for f in findings
    ]


def _findings(identifier: str, provider: str | None, issuer: str | None, stop: Event) -> list[Finding]:
    from knit.app.checking import open_checking
    from knit.errors import Interrupted
    from knit.settings.variables import refuse_unknown

    def sleep(seconds: float) -> None:
        """So that Ctrl-C still takes the probe value away."""
        if stop.wait(seconds):
            raise Interrupted("stopped by Ctrl-C")

    env = Environment.of_process()
    refuse_unknown(env)
    with open_checking(env, issuer, sleep) as checking:
        return checking.findings(checking.facts(identifier, provider, _announce))


def _announce(seconds: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"writing a probe value; it may take {seconds:.0f} s to be seen", err=True)
