"""What happens when a server cannot be had: a failure where everything must run, a skip at a desk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

from rig.process import MissingError


class Server(Protocol):
    """What every server of the rig can do."""

    def start(self) -> None:
        """Run it until it answers."""

    def close(self) -> None:
        """End it and remove what it left."""


S = TypeVar("S", bound=Server)


T = TypeVar("T")


def provided(make: Callable[[], T]) -> T:
    """What is made, where it can be had."""
    try:
        return make()
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def running(make: Callable[[], S]) -> Iterator[S]:
    """Make and start a server, and close it after its use."""
    server = provided(make)
    try:
        server.start()
        yield server
    finally:
        server.close()
