"""Asking a CA about 100,000 certificates every six hours: the share of one core that our own part of it takes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import psycopg

from bench.figures import Figure
from bench.many import ALLOWED, TERMS, issued, listed
from bench.timing import started
from knit.core.ari import USUAL, Answer, window
from knit.core.model.decision import Rules
from knit.flows.poll import Poll
from knit.ports.renewal_info import Adviser
from knit.store.ari.renewal_infos import RenewalInfos
from knit.store.database import Database
from knit.store.passes.passes import Passes
from rig.postgres import Postgres

COUNT = 100_000
DUE = 5_000
GOAL = 0.01


def measure() -> list[Figure]:
    """The CA's answers cost nothing here: what a GET takes is measured with the issuer."""
    postgres = Postgres()
    with started(postgres), ExitStack() as opened:
        url = postgres.create_database("bench")
        database = opened.enter_context(Database.open(url, connections=1))
        connection = opened.enter_context(psycopg.connect(url, autocommit=True))
        listed(connection, COUNT)
        Passes(database, ALLOWED).adopt()
        issued(connection)
        connection.execute("update knit_issued set ari_id = 'bench.' || cert_id")
        connection.execute("update knit_ari set next_poll_at = now() + interval '6 hours' where cert_id > %s", [DUE])
        connection.execute("vacuum analyze")
        return [_figure(database)]


def _figure(database: Database) -> Figure:
    poll = Poll(store=RenewalInfos(database), advisers=Says(), rules=Rules(issuers=(TERMS,)), clock=_now)
    began = time.process_time()
    polled = poll.run()
    each = (time.process_time() - began) / polled.asked
    assert polled.asked == DUE
    share = each * COUNT / USUAL.total_seconds()
    return Figure(
        what=f"bookkeeping of questions about renewal, {COUNT:,} certificates every six hours / one core",
        ours=f"{each * 1000:.2f} ms each",
        number=share,
        goal=GOAL,
    )


class Says:
    """Every issuer, and the CA behind it."""

    def adviser(self, issuer: str) -> Adviser | None:
        """The same for all."""
        return self if issuer == TERMS.name else None

    def renewal_info(self, ari_id: str) -> Answer:
        """A window of two days, fifty days ahead, as a CA would write it."""
        start, end = ((_now() + timedelta(days=days)).isoformat() for days in (50, 52))
        document = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": f"https://ca.example/{ari_id}"}
        return Answer(window=window(document), ask_again=_now() + USUAL)


def _now() -> datetime:
    return datetime.now(UTC)
