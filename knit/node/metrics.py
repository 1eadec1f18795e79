"""A node's metrics as a file for node_exporter's textfile collector, in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

from knit.core.model.deployed import Deployed, Step
from knit.node.told import Once

log = logging.getLogger(__name__)

CLOSEST = 15.0
"""Seconds between two files: nobody reads them more often."""

LONGEST = 600.0
"""Seconds after which it is written though nothing has changed: its own age tells whether the node is at work."""

METRICS: dict[str, str] = {
    "knit_node_info": "Version of knit on this node.",
    "knit_node_written_timestamp_seconds": "When this file was written.",
    "knit_certificate_not_after_timestamp_seconds": "End of the certificate in the files.",
    "knit_certificate_generation": "Generation in the files.",
    "knit_certificate_written_timestamp_seconds": "When the files were written.",
    "knit_certificate_reloaded_timestamp_seconds": "When a reload succeeded after that.",
    "knit_certificate_served_timestamp_seconds": "When a probe last saw this very certificate served.",
    "knit_certificate_probed": "Whether its place has a probe.",
    "knit_certificate_orphaned": "Whether it is no longer published.",
    "knit_certificate_failed": "Whether a step of its deployment has failed, by step.",
}
"""All of them are gauges. Labels of certificates are valkey_key, name and place."""


class Facts(Protocol):
    """What the node knows of its certificates."""

    def version(self) -> object:
        """Differs as soon as anything differs; cheap."""

    def everything(self) -> Iterable[Deployed]:
        """What is known of each."""


class MetricsFile:
    """Writes the file whole beside its place, and renames it: nobody reads half of one."""

    def __init__(self, path: str, version: str, facts: Facts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._version = version
        self._facts = facts
        self._monotonic = monotonic
        self._known: object = None
        self._at: float | None = None
        self._once = Once(log)

    def write_if_due(self) -> None:
        """On change, and every ten minutes. A file that cannot be written is told once, and fails nothing."""
        now, version = self._monotonic(), self._facts.version()
        age = LONGEST if self._at is None else now - self._at
        if age < CLOSEST or (version == self._known and age < LONGEST):
            return
        self._once.turn()
        try:
            self._write()
        except OSError as error:
            cause = error.strerror or type(error).__name__
            self._once.say(logging.WARNING, "metrics not written", path=str(self._path), cause=cause)
        self._known, self._at = version, now

    def _write(self) -> None:
        # Its name must not end in .prom, or it would be read too.
        beside = self._path.with_name(f".{self._path.name}.new")
        beside.unlink(missing_ok=True)
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            # node_exporter runs as a user of its own.
            os.fchmod(opened, 0o644)
            file.writelines(text(self._version, list(self._facts.everything()), time.time()))
        beside.replace(self._path)


def text(version: str, certificates: Iterable[Deployed], now: float) -> Iterator[str]:
    """The file's lines: metrics in the order of the table, each with its certificates."""
    found = list(certificates)
    for name, meaning in METRICS.items():
        yield f"# HELP {name} {meaning}\n# TYPE {name} gauge\n"
        if name == "knit_node_info":
            yield f"{name}{_labels(version=version)} 1\n"
        elif name == "knit_node_written_timestamp_seconds":
            yield f"{name} {now:.3f}\n"
        else:
            for one in found:
                yield from _lines(name, one)


def _lines(name: str, one: Deployed) -> Iterator[str]:
    labels = {"valkey_key": one.key, "name": one.name, "place": one.place}
    if name == "knit_certificate_failed":
        failed = None if one.failure is None else one.failure.step
        for step in Step:
            yield f"{name}{_labels(**labels, step=step.value)} {int(step is failed)}\n"
        return
    value = _values(one)[name]
    if value is not None:
        yield f"{name}{_labels(**labels)} {value}\n"


def _values(one: Deployed) -> dict[str, int | str | None]:
    return {
        "knit_certificate_not_after_timestamp_seconds": _seconds(one.not_after),
        "knit_certificate_generation": one.generation,
        "knit_certificate_written_timestamp_seconds": _seconds(one.written_at),
        "knit_certificate_reloaded_timestamp_seconds": _seconds(one.reloaded_at),
        "knit_certificate_served_timestamp_seconds": _seconds(one.served_at),
        "knit_certificate_probed": int(one.probed),
        "knit_certificate_orphaned": int(one.orphaned),
    }


def _seconds(at: datetime | None) -> str | None:
    return None if at is None else f"{at.timestamp():.0f}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    r"""Within a label \, " and the line feed are escaped; a key may be bytes that are no UTF-8."""
    printable = value.encode(errors="replace").decode()
    return printable.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
