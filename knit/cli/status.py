"""status: how far each certificate has come on every node that takes it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, fitted, instant, json_flag, styled, table, width
from knit.cli.selection import named
from knit.cli.session import connected, settings
from knit.core import words
from knit.core.records import of_deployed, of_reached, of_spread

if TYPE_CHECKING:
    from knit.core.model.node import Reached
    from knit.core.served import Behind, Spread
    from knit.flows.status import Fleet, Status

SHOWN = 40
"""Certificates that a person is shown, those that are not served first; `--json` tells all."""

NODES = 5
"""Nodes of one certificate that are told of among others."""

ALL = 10_000_000
UNREPORTED = "no node reports: KNIT_REPORT_URL on the nodes says where to"


class Within(click.ParamType[timedelta]):
    """A duration as Go writes it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Or seconds."""
        if isinstance(value, timedelta):
            return value
        try:
            return words.duration(value)
        except ValueError as error:
            self.fail(f"{value!r} must be {error}", param, ctx)


@click.command(
    cls=Command,
    epilog="Exit code 0 only when every node that takes a certificate serves it (has reloaded it, where no probe is "
    "set), and some node takes it.",
)
@click.argument("which", metavar="[NAME|ID]", required=False)
@click.option("--wait", is_flag=True, help="Wait until it is served, or cannot be before the timeout.")
@click.option("--timeout", type=Within(), default="10m", metavar="D", show_default=True, help="How long --wait waits.")
@json_flag
def status_command(*, which: str | None, wait: bool, timeout: timedelta, as_records: bool) -> int:
    """Tell for each certificate, or for one, who serves it, since when, and who does not and why."""
    with connected(settings()) as console:
        cert_id = None if which is None else named(console.certs, which).id
        status = console.status(time.sleep)
        most = ALL if as_records else SHOWN
        fleet = followed(status, cert_id, timeout, most) if wait else status.look(cert_id, most=most)
        on_nodes = () if cert_id is None else console.served.on_nodes(cert_id)
        history = () if cert_id is None else console.served.history(cert_id)
    if fleet.unread is not None:
        click.echo(f"knit: reports not read now, this is as last recorded: {clean(fleet.unread)}", err=True)
    if as_records:
        as_json(_record(fleet, on_nodes, history, one=cert_id is not None))
    else:
        click.echo("\n".join(_story(fleet, on_nodes, history) if cert_id is not None else _lines(fleet)))
    return DONE if fleet.served else FAILED


def followed(status: Status, cert_id: Any, within: timedelta, most: int) -> Fleet:
    """Wait, with a line on standard error for each change."""
    before: list[str] = []

    def tell(fleet: Fleet) -> None:
        line = "served" if fleet.served else _first_lack(fleet)
        if [line] != before:
            before[:] = [line]
            click.echo(clean(f"knit: {line}"), err=True)
            sys.stderr.flush()

    return status.follow(cert_id, within=within, most=most, tell=tell)


def _first_lack(fleet: Fleet) -> str:
    lacking = [one for one in fleet.spreads if not one.served]
    if fleet.unreported:
        return UNREPORTED
    behind = [reason(one) for spread in lacking for one in spread.behind[:1]][:1]
    more = f" of {len(lacking)} certificates" if len(lacking) > 1 else ""
    return "; ".join([f"{lacking[0].current.names}{more}: {lacking[0].lack}", *behind])


def reason(one: Behind) -> str:
    """Why this node does not do what it should, in one line."""
    from knit.core.served import Standing

    failure = one.here.failure
    if one.standing is Standing.SILENT:
        return f"{one.node} is silent: what it said last is no longer known to be so"
    if one.standing in (Standing.FAILED, Standing.ROLLED_BACK) and failure is not None:
        kept = ", the files of before are back" if failure.rolled_back else ""
        when = "no next try" if failure.next_try is None else f"next try {instant(failure.next_try)}"
        return f"{one.node}: {failure.step.value} failed: {failure.error}{kept}; {when}"
    if one.standing is Standing.LAGGING:
        return f"{one.node} lags: {one.here.waits or _lags(one)}"
    return f"{one.node}: {one.standing.value}"


def _lags(one: Behind) -> str:
    here = one.here
    if here.written_at is None:
        return "not written yet"
    if here.reloaded_at is None:
        return f"written {instant(here.written_at)}, not reloaded yet"
    if here.probed and here.served_at is None:
        return f"reloaded {instant(here.reloaded_at)}, not seen served yet"
    return f"it has generation {here.generation}"


def _record(fleet: Fleet, on_nodes: Sequence[Behind], history: Sequence[Reached], *, one: bool) -> dict[str, object]:
    told: dict[str, object] = {"served": fleet.served, "unread": fleet.unread}
    if not one:
        return {**told, "certificates": [of_spread(spread) for spread in fleet.spreads]}
    more = {"on_nodes": [of_deployed(node) for node in on_nodes], "history": [of_reached(step) for step in history]}
    return {**told, **of_spread(fleet.spreads[0]), **more} if fleet.spreads else {**told, **more}


def _lines(fleet: Fleet) -> Iterator[str]:
    if not fleet.spreads:
        yield "no certificates"
        return
    if fleet.unreported:
        yield UNREPORTED
    spreads = sorted(fleet.spreads, key=lambda one: (one.served, one.current.cert_id))
    head, *rows = table([("ID", "NAMES", "ISSUED", "PUBLISHED", "SERVED BY", "SINCE"), *map(_row, spreads[:SHOWN])])
    yield styled(head, bold=True)
    for spread, row in zip(spreads, rows, strict=False):
        yield row if spread.served else styled(row, fg="red")
        yield from (clean(f"    {reason(one)}") for one in spread.behind[:NODES])
        if (more := spread.nodes - spread.fine - NODES) > 0:
            yield f"    and {more} more nodes"
    if len(spreads) > SHOWN:
        yield f"and {len(spreads) - SHOWN} more (--json tells all)"
    served = sum(one.served for one in spreads)
    yield f"{served} of {len(spreads)} certificates are served by every node that takes them"


def _row(one: Spread) -> tuple[str, ...]:
    current = one.current
    times = (instant(current.issued_at), instant(current.published_at))
    by = f"{one.fine} of {one.nodes}" if one.nodes else "no node"
    return str(current.cert_id), clean(current.names), *times, by, instant(one.since if one.served else None)


def _story(fleet: Fleet, on_nodes: Sequence[Behind], history: Sequence[Reached]) -> Iterator[str]:
    if not fleet.spreads:
        yield "it is disabled: no node is to serve it"
        return
    (spread,) = fleet.spreads
    current = spread.current
    yield clean(f"{current.cert_id}  {current.names}: {spread.lack or 'served by every node that takes it'}")
    facts = (
        ("issued", instant(current.issued_at)),
        ("published", f"{instant(current.published_at)}, generation {current.generation}, serial {current.serial}"),
    )
    yield from (f"   {name:<10} {told}" for name, told in facts if told != "-")
    if on_nodes:
        heads = ("   NODE", "PLACE", "WRITTEN", "RELOADED", "SERVED", "BY", "STANDING")
        yield from fitted([heads, *map(_on_node, on_nodes)], width())
        yield from (clean(f"   {reason(one)}") for one in spread.behind)
    older = [one for one in history if one.generation != current.generation][:SHOWN]
    if older:
        yield "   before:"
        yield from fitted([_of_before(one) for one in older], width())


def _on_node(one: Behind) -> tuple[str, ...]:
    here = one.here
    times = (instant(here.written_at), instant(here.reloaded_at), instant(here.served_at))
    return f"   {clean(one.node)}", clean(here.place), *times, clean(here.served_on or "-"), one.standing.value


def _of_before(one: Reached) -> tuple[str, ...]:
    failed = f"{one.failed_step} failed: {clean(one.failed_error or '')}" if one.failed_at else "-"
    times = (instant(one.written_at), instant(one.reloaded_at), instant(one.served_at))
    return f"   {clean(one.node)}", f"generation {one.generation}", *times, failed
