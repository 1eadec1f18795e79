"""plan: what the next pass would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from knit.cli import revocations
from knit.cli.budget import key_record, key_words
from knit.cli.goflags import Command
from knit.cli.output import as_json, clean, fitted, instant, json_flag, width
from knit.cli.session import connected, settings
from knit.core.records import of_revocation
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.model.decision import Resting
    from knit.core.model.revocation import Revocation
    from knit.core.model.verdict import Verdict
    from knit.flows.plan import Plan, Spending

SHOWN = 40
"""Certificates of one kind that a person is shown; `--json` tells all."""


YEARS = range(2000, 3000)


class Instant(click.ParamType[datetime]):
    """An instant: RFC 3339, or a day."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Without a zone it is UTC."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2027-02-10 or 2027-02-10T12:00:00Z", param, ctx)
        if found.year not in YEARS:
            self.fail(f"{value!r} must be in the years {YEARS.start} to {YEARS.stop - 1}", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.command(
    cls=Command, epilog="It changes nothing. Whether published values are sound, only a pass looks (once a day)."
)
@click.option("--at", type=Instant(), metavar="TIME", help="As if nothing happened until then.")
@json_flag
def plan_command(*, at: datetime | None, as_records: bool) -> None:
    """Tell what the next pass would do to each certificate, why, and what it costs of the CA's limits."""
    from knit.app.plans import planning
    from knit.settings.central import Worker

    now = datetime.now(UTC)
    if at is not None and at < now:
        raise click.UsageError(
            f"--at {at:%Y-%m-%dT%H:%M:%S%z} is in the past: only passes to come can be planned",
            click.get_current_context(),
        )
    worker = Worker.read(Environment.of_process(), queue_required=False, issues=False)
    with connected(settings()) as console, planning(worker, console) as flow:
        plan = flow.plan(at or now)
        to_revoke = console.revocations.open()
    if as_records:
        as_json({**_plan_record(plan), "revocations": [{"id": one.cert_id, **of_revocation(one)} for one in to_revoke]})
    else:
        click.echo("\n".join([*_plan_lines(plan), *_revocation_lines(to_revoke)]))


def _plan_record(plan: Plan) -> dict[str, object]:
    return {
        "at": plan.at,
        "certificates": [*map(_verdict_record, plan.verdicts), *map(_resting_record, plan.resting)],
        "unread": plan.unread,
        "taken_over": plan.taken_over,
        "orphans": plan.orphans,
        "pruned": plan.pruned,
        "budgets": [_spending_record(one) for one in plan.spending],
        "refused": dict(plan.refused),
    }


def _verdict_record(one: Verdict) -> dict[str, object]:
    return {
        "id": one.cert_id,
        "domains": one.names_key.split(","),
        "does": one.act.value,
        "reason": None if one.reason is None else one.reason.value,
        "until": one.until,
        "why": one.why,
        "costs": [key_record(cost.key) for cost in one.costs],
    }


def _resting_record(one: Resting) -> dict[str, object]:
    facts: dict[str, object] = {"id": one.cert_id, "domains": one.names_key.split(","), "does": "nothing"}
    return {**facts, "reason": None, "until": one.until, "why": one.why, "costs": []}


def _spending_record(one: Spending) -> dict[str, object]:
    return {**key_record(one.key), "tokens": one.tokens, "left": one.left, "of": one.rate.count}


def _plan_lines(plan: Plan) -> Iterator[str]:
    from knit.core.model.verdict import Act

    yield f"The pass at {instant(plan.at)} would"
    for name, why in plan.refused.items():
        yield f"  issue nothing from {clean(name)}: {clean(why)}"
    for act in Act:
        yield from _acts(act, plan.of(act))
    for words, ids in (
        ("read, and then decide about, new or changed rows", plan.unread),
        ("record values that are published already", plan.taken_over),
        ("end what is left of certificates that were removed or disabled", plan.orphans),
    ):
        if ids:
            yield f"  {words}: {_few([str(one) for one in ids])}"
    if plan.pruned:
        yield f"  prune {len(plan.pruned)}: {_few(plan.pruned)}"
    yield f"  leave alone: {len(plan.resting)}{_next(plan.resting)}"
    for one in plan.spending:
        yield f"  spend {one.tokens} of {one.left} left: {key_words(one.key)}"


def _revocation_lines(found: Sequence[Revocation]) -> Iterator[str]:
    """Workers see to these, passes or none."""
    if found:
        yield f"Revocations under way: {len(found)}"
        yield from fitted(
            [(f"    {one.cert_id}", clean(one.names_key), revocations.words(one)) for one in found[:SHOWN]], width()
        )
    if len(found) > SHOWN:
        yield f"    and {len(found) - SHOWN} more (--json tells all)"


def _acts(act: object, found: Sequence[Verdict]) -> Iterator[str]:
    if not found:
        return
    yield f"  {act}: {len(found)}"
    rows = [(f"    {one.cert_id}", clean(one.names_key), _because(one)) for one in found[:SHOWN]]
    yield from fitted(rows, width())
    if len(found) > SHOWN:
        yield f"    and {len(found) - SHOWN} more (--json tells all)"


def _because(one: Verdict) -> str:
    until = "" if one.until is None else f"until {instant(one.until)}: "
    return clean(until + (one.why or (one.reason.value if one.reason is not None else "")))


def _few(words: Sequence[str]) -> str:
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return clean(", ".join(words[:SHOWN])) + more


def _next(resting: Sequence[Resting]) -> str:
    ahead = [one.until for one in resting if one.until is not None]
    return f"; the next look is at {instant(min(ahead))}" if ahead else ""
