"""Logging set-up, once per process: one line per event in logfmt on stderr, as the Go knit wrote it.

Loggers are the standard library's: `log.info("certificate renewed", extra={"cert": 7})`. Constant words, then
fields; ids and names, never objects. Private keys that reach a line by accident are cut out.
"""

from __future__ import annotations

import logging
import re
import sys
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

# These print whole requests, messages or replies at debug level.
_TALKATIVE = ("acme", "dramatiq", "urllib3", "botocore", "boto3", "google", "azure", "apscheduler")

# Prints a traceback for each connection that fails, and then raises an error that says the same.
_ECHOING = ("pika",)


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
        return " ".join(f"{name}={_quoted(_cut(str(value)))}" for name, value in pairs)


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


def setup(level: str) -> None:
    """Send everything from `level` up (debug, info, warn, error) to stderr; libraries only from info up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.INFO))
    for name in _ECHOING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
