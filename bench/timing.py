"""Servers for a figure, and whole commands on the clock."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol


class Server(Protocol):
    """One of the rig's."""

    def start(self) -> None: ...
    def close(self) -> None: ...


@contextmanager
def started(*servers: Server) -> Iterator[None]:
    """Run them meanwhile."""
    with ExitStack() as opened:
        for server in servers:
            opened.callback(server.close)
            server.start()
        yield


def median(numbers: Sequence[float]) -> float:
    """The middle one; of an even number the lower of the two in the middle."""
    return sorted(numbers)[(len(numbers) - 1) // 2]


def alternating(ways: Sequence[Sequence[str]], environment: Mapping[str, str], rounds: int) -> list[float]:
    """The median seconds of each command. They take turns; the first turn, which fills caches, is not counted.

    Python keeps its bytecode, as it does where knit is installed.
    """
    usual = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    spent = [[_seconds(words, usual) for words in ways] for _ in range(rounds + 1)]
    return [median(each) for each in zip(*spent[1:], strict=True)]


def _seconds(words: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - began
