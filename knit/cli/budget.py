"""budget: what is left of the limits of CAs, and when more could be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from knit.cli.goflags import Command
from knit.cli.issuers import recorded_rules
from knit.cli.output import as_json, clean, fitted, instant, json_flag, width
from knit.cli.session import connected, settings
from knit.core.words import in_days, in_hours

if TYPE_CHECKING:
    from knit.core.budget import BucketKey
    from knit.flows.forecast import Had, Left


@click.command(cls=Command)
@click.option("--want", type=click.IntRange(1, 100_000), metavar="N", help="When N more certificates could be had.")
@click.option("--domain", metavar="D", help="Only of this registered domain; with --want, for which they are.")
@click.option("--issuer", metavar="NAME", help="With --want: from this issuer instead of the default one.")
@json_flag
def budget_command(*, want: int | None, domain: str | None, issuer: str | None, as_records: bool) -> None:
    """Tell what is left of the CA's limits, how it refills, and when more could be had."""
    from knit.app.plans import forecast

    context = click.get_current_context()
    if want is not None and domain is None:
        raise click.UsageError("--want goes only with --domain", context)
    if issuer is not None and want is None:
        raise click.UsageError("--issuer goes only with --want", context)
    central, now = settings(), datetime.now(UTC)
    subject = None if domain is None else _registered(domain)
    if not central.rules.terms_named(issuer or ""):
        known = ", ".join(one.name for one in central.rules.issuers)
        raise click.UsageError(f"no issuer is called {issuer!r}; configured: {known}", context)
    with connected(central) as console:
        rules = recorded_rules(console, central)
        flow, terms = forecast(central, rules, console), rules.terms_named(issuer or "")
        left = [one for one in flow.left(now) if subject is None or one.key.subject in ("", subject)]
        had = None if want is None else flow.had(want, str(subject), terms, now)
    if as_records:
        as_json(
            {"at": now, "buckets": list(map(_left_record, left)), "want": None if had is None else _had_record(had)}
        )
    else:
        click.echo("\n".join([*_left_lines(left), *_had_lines(had, str(subject))]))


def _registered(domain: str) -> str:
    from knit.core.domains import registered
    from knit.core.names import normalise_one

    return registered(normalise_one(domain))


def _left_record(one: Left) -> dict[str, object]:
    return {
        "issuer": one.issuer,
        **key_record(one.key),
        "left": one.left,
        "of": one.rate.count,
        "held": one.held,
        "refill": in_hours(one.rate.every),
        "full_at": one.full_at,
    }


def _had_record(had: Had) -> dict[str, object]:
    limit = None if had.limit is None else key_record(had.limit)
    return {"certificates": had.wanted, "at_once": had.now, "last_at": had.at, "limit": limit}


def _left_lines(left: Sequence[Left]) -> Iterator[str]:
    if not left:
        yield "nothing is counted: no limits are known of the CA, or nothing was ordered lately"
        return
    rows = [("ISSUER", "LEFT", "LIMIT", "OF", "ONE MORE EVERY", "FULL AT")]
    rows += [
        (
            clean(one.issuer),
            f"{one.left}/{one.rate.count}",
            one.key.limit.words,
            clean(one.key.subject) or "the account",
            in_days(one.rate.every),
            "now" if one.full_at is None else instant(one.full_at),
        )
        for one in left
    ]
    yield from fitted(rows, width())


def _had_lines(had: Had | None, domain: str) -> Iterator[str]:
    if had is None:
        return
    if had.limit is None:
        yield f"{had.wanted} more certificates of {clean(domain)} could be had at once"
        return
    more = f"of {had.wanted} more certificates of {clean(domain)}"
    yield f"{more}, {had.now} could be had at once, the last at {instant(had.at)}"
    yield f"held up by: {key_words(had.limit)}"


def key_record(key: BucketKey) -> dict[str, object]:
    """A bucket, for `--json`."""
    return {"directory": key.directory, "limit": key.limit.value, "subject": key.subject}


def key_words(key: BucketKey) -> str:
    """A bucket, for a person."""
    return clean(f"{key.limit.words}{f' ({key.subject})' if key.subject else ''}, {key.directory}")
