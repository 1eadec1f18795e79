"""`python -m workers --queues control …`: the worker processes, and the one that minds them.

The command line is dramatiq's own. Its minding process passes on SIGTERM, SIGINT and SIGHUP; at any other signal the
system would end it, and leave the workers alone.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from knit.signals import pass_over

APPLICATION = "workers.main:setup"


def main() -> int:
    """Until told to stop; dramatiq's exit code."""
    minder = os.getpid()

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Workers that have just been made still have this handler: the minder sees to them.
        if os.getpid() == minder:
            os.kill(minder, signal.SIGTERM)

    pass_over()
    signal.signal(signal.SIGQUIT, stop)
    from dramatiq.cli import main as minding
    from dramatiq.cli import make_argument_parser

    options = make_argument_parser().parse_args([APPLICATION, *sys.argv[1:]])  # type: ignore[no-untyped-call]
    # How dramatiq starts itself anew after a hang-up.
    sys.argv = [sys.executable, "-m", "workers", *sys.argv[1:]]
    return int(minding(options) or 0)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())
