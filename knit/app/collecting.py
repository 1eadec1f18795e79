"""Reads the reports of nodes into PostgreSQL."""

from __future__ import annotations

from functools import partial

from knit.app.clock import now
from knit.flows.collect import Collect
from knit.store.database import Database
from knit.store.served.records import NodeRecords
from knit.valkey.layout import Layout
from knit.valkey.reporting import rule
from knit.valkey.reports import ValkeyReports
from knit.valkey.site import Site


def collecting(url: str, index_key: str, database: Database) -> Collect:
    """Each run has a connection of its own. Raises Misconfigured for a bad URL."""
    site = Site.of(url, name="knit-reports", setting="KNIT_REPORT_URL")
    return Collect(reports=partial(ValkeyReports, site, Layout(index_key)), store=NodeRecords(database), clock=now)


def reporter_rule(index_key: str, name: str) -> str:
    """A line for Valkey's file of users: whom the node of this name reports as. Its password's hash is to be put in."""
    return f"user report-{name} on #SHA256-OF-ITS-PASSWORD {rule(Layout(index_key), name)}"
