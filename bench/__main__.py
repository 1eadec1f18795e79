"""`python -m bench [NAME ...] [--write]`: measure, print the table, and on request keep it in docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bench.figures import Figure, markdown, printed
from rig.process import RigError

MODULES = {
    "issuer": "acme_cpu",
    "worker": "worker_cpu",
    "commands": "commands",
    "slow-ca": "slow_ca",
    "nothing-due": "nothing_due",
    "first-pass": "first_pass",
    "plan": "planning",
    "served": "serving",
    "polling": "polling",
    "backlog": "backlog",
    "once": "once",
    "killed": "killed",
    "watch": "watching",
    "first-sync": "first_sync",
    "layouts": "layouts",
    "startup": "startup",
}
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- its folders are made by mkdtemp
ROOM = 2**30
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main() -> int:
    """Exit code 1 when a figure misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MODULES)}; none: all of them")
    parser.add_argument("--write", action="store_true", help="replace the table in docs/performance.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MODULES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    _leave_the_disk()
    figures: list[Figure] = []
    try:
        for name in arguments.names or MODULES:
            figures += _measured(name)
    finally:
        sys.stdout.write("\n" + printed(figures))
    if arguments.write:
        _write(figures)
    return int(any(figure.missed for figure in figures))


def _leave_the_disk() -> None:
    """The rig's servers keep their files in memory where there is room: no figure is about this machine's disk."""
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ROOM:
        tempfile.tempdir = str(SHARED_MEMORY)


def _measured(name: str) -> list[Figure]:
    sys.stderr.write(f"{name} ...")
    sys.stderr.flush()
    began = time.monotonic()
    measure: Callable[[], list[Figure]] = import_module(f"bench.{MODULES[name]}").measure
    try:
        figures = measure()
    except RigError as error:
        figures = [Figure.skipped(name, str(error))]
    sys.stderr.write(f" {time.monotonic() - began:.0f} s\n")
    return figures


def _write(figures: list[Figure]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{_machine()}\n\n{markdown(figures)}\n{END}{after}", encoding="utf-8")


def _machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.python_implementation()} {platform.python_version()}, everything on loopback; "
        f"load average over the last 15 minutes {os.getloadavg()[2]:.1f}."
    )


if __name__ == "__main__":
    sys.exit(main())
