"""What is set, read again when somebody asks for a look: the node file, and other files that variables name."""

from __future__ import annotations

import logging
import os
import sys

from knit.errors import Misconfigured
from knit.node import start
from knit.settings.environment import Environment
from knit.settings.node import NodeSettings

log = logging.getLogger(__name__)


def reread(settings: NodeSettings) -> None:
    """Begin anew, as the same process, where something else is set than these; else go on with them.

    Between two passes nothing is under way, and all that a node must not forget is on disk.
    """
    found = _read()
    if isinstance(found, Misconfigured):
        log.error("settings refused, keeping those in use", extra={"cause": str(found)})
    elif found != settings:
        log.info("settings have changed, starting anew")
        start.hold()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- ourselves


def _read() -> NodeSettings | Misconfigured:
    try:
        return NodeSettings.read(Environment.of_process())
    except Misconfigured as error:
        return error
