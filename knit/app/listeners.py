"""Who hears what happens in a process: the log always, and whoever else listens."""

from __future__ import annotations

import logging

from knit.core.events import KEPT, Severity, Told
from knit.core.model.results import GivenUp, Result
from knit.errors import KnitError
from knit.ports.events import Listener

log = logging.getLogger(__name__)

LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.NOTICE: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


def to_log(told: Told | Result) -> None:
    """One line for an event, in the words of its kind, and for what was given up; how all else ended is no line."""
    match told:
        case Told():
            about = {"cert": told.cert_id, "attempt": told.attempt_id}
            fields = {name: value for name, value in about.items() if value is not None}
            log.log(LEVELS[told.severity], told.kind.value, extra={**fields, **told.detail})
        case GivenUp(what=what, about=words, error=KnitError() as error):
            cert = {"cert": words[0]} if words and words[0] is not None else {}
            log.error("not done", extra={"what": what, **cert, "error": str(error), "kept": KEPT})
        case GivenUp(what=what, about=words, error=bug):
            log.error("bug in knit: message given up", extra={"actor": what, "about": words}, exc_info=bug)


def to_all(*listeners: Listener) -> Listener:
    """Each of them, in this order."""

    def tell(told: Told | Result) -> None:
        for listener in listeners:
            listener(told)

    return tell
