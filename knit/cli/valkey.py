"""adopt-valkey and prune: whose values the certificate Valkey holds, and which of them nothing explains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE, FAILED
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, instant, json_flag
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.published import PublishedSide
    from knit.flows.prune import Pruned
    from knit.ports.leases import Leases


@click.command(
    "adopt-valkey",
    cls=Command,
    epilog="Values of the installation it belonged to stay as they are; that installation can write nothing any more.",
)
@json_flag
def adopt_valkey_command(*, as_records: bool) -> None:
    """Make the certificate Valkey this database's, whoever's it was."""
    with _opened() as (side, _):
        former = side.belonging.take_over()
    place = side.publication.place
    if as_records:
        as_json({"result": "adopted", "place": place, "former": former})
    elif former == side.belonging.id:
        click.echo(f"the Valkey at {place} is this installation's already")
    else:
        whose = "nobody's" if former is None else f"installation {former[:8]}'s"
        click.echo(f"the Valkey at {place}, {whose} until now, is this installation's")


@click.command(cls=Command)
@click.option("--confirm", is_flag=True, help="Prune what nothing explains now, however new and however much it is.")
@json_flag
def prune_command(*, confirm: bool, as_records: bool) -> int:
    """Show the published values that no certificate and no removal explains; with --confirm, remove them now."""
    with _opened() as (side, leases):
        side.belonging.check()
        found = _pruned(side, leases) if confirm else side.prune.preview()
    if as_records:
        as_json(_record(found))
    else:
        click.echo("\n".join(_lines(found, confirmed=confirm)))
    return FAILED if found.refused else DONE


def _pruned(side: PublishedSide, leases: Leases) -> Pruned:
    from knit.errors import Transient

    with leases.hold("publish") as lease:
        if lease is None:
            raise Transient("a worker is publishing now: nothing is pruned; try again in a moment")
        return side.prune.run(lease, confirmed=True)


def _record(found: Pruned) -> dict[str, object]:
    unexplained = [
        {"valkey_key": key, "since": one.since, "valid": one.valid, "kept_until": one.until}
        for key, one in sorted(found.unexplained.items())
    ]
    return {
        "pruned": found.count,
        "unexplained": unexplained,
        "other_installations": sorted(found.foreign),
        "refused": found.refused,
    }


def _lines(found: Pruned, *, confirmed: bool) -> Iterator[str]:
    if confirmed:
        yield f"pruned: {found.count}"
    elif not found.unexplained:
        yield "every published value of this installation belongs to a certificate or a removal"
    else:
        for key, one in sorted(found.unexplained.items()):
            state = f"kept until {instant(one.until)}" if one.valid else "not valid: pruned by the next pass"
            yield f"{clean(key)}  unexplained since {instant(one.since)}, {state}"
        yield "`knit prune --confirm` removes them now"
    if found.foreign:
        keys = ", ".join(map(clean, sorted(found.foreign)))
        yield f"values that this installation did not write, never touched: {keys}"
    if found.refused:
        yield f"refused: {found.refused}"


@contextmanager
def _opened() -> Iterator[tuple[PublishedSide, Leases]]:
    """The published side and the leases of PostgreSQL, as a worker has them."""
    from knit.app.published import open_published
    from knit.log import setup
    from knit.settings.central import Worker

    settings = Worker.read(Environment.of_process(), queue_required=False, issues=False)
    setup(settings.log_level)
    with open_published(settings) as opened:
        yield opened
