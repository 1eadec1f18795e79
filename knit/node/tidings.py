"""What a node tells others after each pass: the centre, by its report, and node_exporter, by its file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from knit import __version__
from knit.errors import KnitError
from knit.node.facts import NodeFacts
from knit.settings.node import NodeSettings
from knit.valkey.layout import Layout
from knit.valkey.site import Site

if TYPE_CHECKING:
    from knit.node.metrics import MetricsFile
    from knit.node.report import Reporter


class Tidings:
    """None of the two where nobody has asked for it."""

    def __init__(self, facts: NodeFacts, reporter: Reporter | None = None, metrics: MetricsFile | None = None) -> None:
        self._facts = facts
        self._reporter = reporter
        self._metrics = metrics

    @property
    def next_at(self) -> float | None:
        """When there is something to tell though nothing changes, by the monotonic clock."""
        return None if self._reporter is None else self._reporter.next_at

    def tell(self, failures: Mapping[str, KnitError] | None) -> None:
        """A pass is over; `failures` are the published values that could not be written, None if it broke off."""
        if self._reporter is None and self._metrics is None:
            return
        if failures is not None:
            self._facts.complain(failures, datetime.now(UTC))
        if self._metrics is not None:
            self._metrics.write_if_due()
        if self._reporter is not None:
            self._reporter.send_if_due()


def open_tidings(settings: NodeSettings, facts: NodeFacts, opened: ExitStack) -> Tidings:
    """As the settings say; what is not asked for takes no memory. Raises Misconfigured for a bad URL."""
    reporter = metrics = None
    if settings.report_url is not None:
        from knit.node.report import Reporter
        from knit.valkey.reporting import ReportWriter

        site = Site.of(settings.report_url, name="knit-report", setting="KNIT_REPORT_URL")
        writer = ReportWriter(site, Layout(settings.index_key), settings.node.name)
        reporter = Reporter(
            writer, name=settings.node.name, version=__version__, interval=settings.report_interval, facts=facts
        )
        opened.callback(reporter.close)
    if settings.metrics_textfile is not None:
        from knit.node.metrics import MetricsFile

        metrics = MetricsFile(settings.metrics_textfile, __version__, facts)
    return Tidings(facts, reporter, metrics)
