"""Logging set-up, once per process: one line per event in logfmt on stderr, as the Go knit wrote it.

Loggers are the standard library's: `log.info("certificate renewed", extra={"cert": 7})`. Constant words, then
fields; ids and names, never objects. Private keys that reach a line by accident are cut out.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime

from knit.core.text import escaped

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_PLAIN = re.compile(r"[\w.:/@*,+%()\[\]-]+", re.ASCII)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# A password may hold an `@`, and one that should have been escaped a `/` too: up to the last one is cut.
_CREDENTIALS = re.compile(r"(?<=://)[^\s\"'<>]*@")

_LONGEST = 16 * 1024
"""Characters of one value: more than any traceback has that is worth reading."""

_OURS = frozenset({"knit", "workers", "scheduler", "root", "tests", "__main__"})
"""Whose lines are printed as they are. A file that is run as a program logs as `__main__`."""

# What these have to say that matters, knit says itself, once, in its own words; their own lines come every second while
# a server is away, or tell what they do all day.
_SPOKEN_FOR = frozenset({"acme", "apscheduler", "dramatiq", "pika", "psycopg", "redis", "tenacity", "urllib3"})


class OwnWords(logging.Filter):
    """Lets through what knit says. A library is heard at debug level, or once for each error that is not known here."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug
        self._heard: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is logged."""
        library = record.name.partition(".")[0]
        if library in _OURS:
            return True
        if self._debug:
            # Below that they print whole requests, messages or replies.
            return record.levelno >= logging.INFO and library != "pika"
        if library in _SPOKEN_FOR or record.levelno < logging.ERROR:
            return False
        told = (record.name, str(record.msg))
        new = told not in self._heard
        self._heard.add(told)
        return new


class Logfmt(logging.Formatter):
    """time= level= msg= and the extra fields, in that order; control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        pairs: list[tuple[str, object]] = [("time", at), ("level", level), ("msg", record.getMessage())]
        pairs += [(name, value) for name, value in vars(record).items() if name not in _OWN]
        if record.exc_info:
            pairs.append(("trace", self.formatException(record.exc_info)))
        return " ".join(f"{name}={_quoted(_cut(_text(value)))}" for name, value in pairs)


def _text(value: object) -> str:
    """Times as the line's own, without the fraction."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)


def redacted(line: str) -> str:
    """The text without private keys and without user information in URLs."""
    return _CREDENTIALS.sub("***@", _KEY.sub("(private key)", line))


def _cut(value: str) -> str:
    """Without secrets, and no longer than a person reads. Looks at no more than it must: a value may have megabytes."""
    whole = redacted(value[: 4 * _LONGEST])
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    shown = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped(shown)}"'


def last_words(line: str) -> None:
    """One line for whoever started this process. Where nothing can be said, the exit code is all there is."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def setup(level: str) -> None:
    """Send everything of knit's from `level` up (debug, info, warn, error) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    handler.addFilter(OwnWords(debug=level == "debug"))
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
