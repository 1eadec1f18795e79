"""The command line: each command parses, calls one flow or the store, and prints the result.

Nothing heavy is imported before the command that needs it runs: `knit --help` and shell completion pay for click
alone.
"""

from __future__ import annotations

import gc
import sys

FEW_COLLECTIONS = 100_000


def main() -> None:
    """Run the command in `sys.argv` and exit with its code."""
    # Imports make many objects and no garbage: looking for some is a twentieth of a short command's time.
    gc.set_threshold(FEW_COLLECTIONS)
    from knit.cli.app import app
    from knit.cli.edge import run

    try:
        code = run(app, sys.argv[1:])
    finally:
        # The interpreter would look through all of it once more on its way out, and take a tenth of the time for it.
        gc.freeze()
    sys.exit(code)
