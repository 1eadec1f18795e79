"""Where every outcome of a command becomes an exit code, and every error one line on stderr.

0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from knit.errors import KnitError, Misconfigured

DONE = 0
FAILED = 1
MISUSED = 2
INTERRUPTED = 130


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command and give the exit code. The one broad handler of the command line is here."""
    try:
        _open_streams()
        code = command.main(args=list(arguments), prog_name="knit", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- the process edge
        return next(answer for kind, answer in ANSWERS if isinstance(error, kind))(error)
    return code if isinstance(code, int) else DONE


def _open_streams() -> None:
    """What is said on a stream that the caller has closed goes nowhere, and no text fails to be said."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 -- stays open
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str, code: int) -> int:
    from knit.log import redacted

    line = " ".join(redacted(text).split())
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    with suppress(OSError):
        # Where errors cannot be told either, the exit code is all there is.
        click.echo(f"knit: {printable}", err=True)
    return code


def _misused(error: click.UsageError) -> int:
    _say(error.format_message().rstrip("."), MISUSED)
    if error.ctx is not None:
        with suppress(OSError):
            click.echo(error.ctx.get_usage(), err=True)
    return MISUSED


def _reader_gone(_: BrokenPipeError) -> int:
    """Whoever read our output went away."""
    _give_up_output()
    return FAILED


def _system_said_no(error: OSError) -> int:
    """A full disk, a closed output, a file that cannot be read: the system's own words."""
    _give_up_output()
    place = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return _say(f"{place}{error.strerror or error}", FAILED)


def _give_up_output() -> None:
    """Python must not find out again, when it flushes at exit, that nothing can be written."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _out_of_memory(_: MemoryError) -> int:
    return _say("out of memory", FAILED)


def _not_installed(error: ModuleNotFoundError) -> int:
    root = (error.name or "").partition(".")[0]
    if root in {"knit", "workers", "scheduler"}:
        return _bug(error)
    extra = "node" if root == "cryptography" else "central"
    return _say(
        f"this command needs {root}, which is not installed: install knit-certs[{extra}], "
        f"from a clone with requirements/{extra}.txt",
        MISUSED,
    )


def _bug(error: Exception) -> int:
    """Name the place; the error's own text may hold anything."""
    import traceback

    from knit.log import redacted
    from knit.settings.environment import Environment

    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    if Environment.of_process().get("KNIT_LOG_LEVEL") == "debug":
        click.echo(redacted("".join(traceback.format_exception(error))), err=True, nl=False)
        return _say(f"this is a bug in knit: {type(error).__name__} at {place}", FAILED)
    text = f"this is a bug in knit: {type(error).__name__} at {place}; KNIT_LOG_LEVEL=debug shows the traceback"
    return _say(text, FAILED)


ANSWERS: tuple[tuple[type[Exception], Callable[[Any], int]], ...] = (
    (click.UsageError, _misused),
    (Misconfigured, lambda error: _say(str(error), MISUSED)),
    (KnitError, lambda error: _say(str(error), FAILED)),
    (BrokenPipeError, _reader_gone),
    (OSError, _system_said_no),
    (MemoryError, _out_of_memory),
    (ModuleNotFoundError, _not_installed),
    (Exception, _bug),
)
"""The first kind that fits answers."""
