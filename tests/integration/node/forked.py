"""The process that looks into pairs, forked from one that has imported what it needs: most of its time is imports."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from knit.node import inspector_child
from knit.node.inspector import SECONDS, Inspector
from rig import forks

OWNER = os.getpid()


class ForkedInspector(Inspector):
    """Asks such a process, unless it runs in a fork of ours, or is to have around it what the tests have not."""

    def _started(self) -> socket.socket:
        if os.getpid() != OWNER or _lasting(self._environment) != _lasting(ordinary_environment()):
            return super()._started()
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS)
        with theirs, Path(os.devnull).open("wb") as silence, ExitStack() as undo:
            undo.callback(ours.close)
            process: Any = forks.Forked(
                forks.start(
                    inspector_child.main,
                    [inspector_child.__name__],
                    environment=self._environment,
                    directory=Path.cwd(),
                    stdin=theirs.fileno(),
                    out=theirs.fileno(),
                    err=silence.fileno(),
                )
            )
            self._process = process
            undo.pop_all()
        return ours


def ordinary_environment() -> dict[str, str]:
    """What a node's children get from ours."""
    return {name: text for name, text in os.environ.items() if not name.startswith("KNIT_")}


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name != "PYTEST_CURRENT_TEST"}
