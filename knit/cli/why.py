"""why: what is in a certificate's way, in whose words, and who has to act."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from knit.cli import revocations
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, fitted, instant, json_flag, width
from knit.cli.selection import named
from knit.cli.session import connected, settings
from knit.core.records import of_revocation

LAST = 5
"""Attempts that a person is shown; `--json` tells of the newest twenty."""


@click.command(cls=Command)
@click.argument("which", metavar="NAME|ID")
@json_flag
def why_command(*, which: str, as_records: bool) -> None:
    """Tell why one certificate is as it is: what is in its way, in whose words, who has to act, and when it goes on."""
    from knit.core.why import why

    with connected(settings()) as console:
        cert = named(console.certs, which)
        tries = tuple(console.certs.tries(cert.id))
        taken_back = console.revocations.of(cert.id)
    found = why(cert, tries, datetime.now(UTC))
    tried = [
        {"at": one.started_at, "ended_at": one.ended_at, "reason": one.reason, "directory": one.directory}
        | {"step": one.step, "class": one.error_class, "said": one.error}
        for one in tries
    ]
    if as_records:
        more = {"tried": tried, "revocations": [of_revocation(one) for one in taken_back]}
        as_json({"id": cert.id, "domains": cert.names, **asdict(found), "failures": cert.failures, **more})
        return
    rows = [
        ("state", found.state),
        ("cause", found.cause),
        ("said", None if found.said is None else clean(found.said)),
        ("who acts", found.who),
        ("next look", None if found.next_try is None else instant(found.next_try)),
        *(("revocation", revocations.words(one)) for one in taken_back[:LAST]),
        ("failures", str(cert.failures) if cert.failures else None),
    ]
    click.echo(f"{cert.id}  {clean(', '.join(cert.names))}")
    for line in fitted([(f"   {name}", value) for name, value in rows if value is not None], width()):
        click.echo(line)
    for one in tries[:LAST]:
        said = f": {one.error}" if one.error else ""
        click.echo(clean(f"   tried {instant(one.started_at)} ({one.reason}), {one.step}{said}"))
