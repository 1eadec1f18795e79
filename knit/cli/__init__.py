"""The command line: each command parses, calls one flow or the store, and prints the result.

Nothing heavy is imported before the command that needs it runs: `knit --help` and shell completion pay for click
alone.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in `sys.argv` and exit with its code."""
    from knit.cli.app import app
    from knit.cli.edge import run

    sys.exit(run(app, sys.argv[1:]))
