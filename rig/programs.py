"""knit's programs by their main functions, for forks.py: what each needs is imported when it runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable


def run_knit() -> None:
    """`knit …`."""
    from knit.cli import main

    main()


def run_scheduler() -> None:
    """`python -m scheduler.main`."""
    from scheduler.main import main

    sys.exit(main())


def run_workers() -> None:
    """`python -m workers …`."""
    from workers.__main__ import main

    _as_this_environment_has_it()
    sys.exit(main())


def run_dramatiq() -> None:
    """`dramatiq …`."""
    from dramatiq.cli import main

    _as_this_environment_has_it()
    sys.exit(main())  # type: ignore[no-untyped-call]


MAINS: dict[tuple[str, ...], Callable[[], None]] = {
    ("python", "-m", "scheduler.main"): run_scheduler,
    ("python", "-m", "workers"): run_workers,
    ("dramatiq",): run_dramatiq,
}
"""By how a command begins: what the Procfile starts, and dramatiq itself."""


def _as_this_environment_has_it() -> None:
    """dramatiq reads its variables when it is imported."""
    import dramatiq
    from dramatiq import cli, worker

    importlib.reload(worker)
    for module in (dramatiq, cli):
        vars(module)["Worker"] = worker.Worker
