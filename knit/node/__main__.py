"""`python -m knit.node [--once]`: the watcher without the rest of the command line."""

from __future__ import annotations

import argparse
import sys

from knit.node import start

if __name__ == "__main__":
    start.prepare()

from knit import log
from knit.errors import KnitError, Misconfigured
from knit.node.main import run
from knit.settings.environment import Environment
from knit.settings.node import NodeSettings


def main() -> int:
    """Exit codes: 0 done, 1 failed, 2 usage or configuration."""
    parser = argparse.ArgumentParser(prog="python -m knit.node", description="Keep published certificates in files.")
    parser.add_argument("--once", action="store_true", help="one pass over everything, then exit")
    arguments = parser.parse_args()
    try:
        settings = NodeSettings.read(Environment.of_process())
        log.setup(settings.log_level)
        return run(settings, once=arguments.once)
    except KnitError as error:
        log.last_words(f"knit watch: {error}")
        return 2 if isinstance(error, Misconfigured) else 1


if __name__ == "__main__":
    try:
        code = main()
    finally:
        # Nothing is left to be told: a second stop, while the interpreter takes itself apart, would be the system's.
        start.hold()
    sys.exit(code)
