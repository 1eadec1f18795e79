"""What every command of the centre starts with: settings, logging, the list of certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.settings.central import Central


def settings() -> Central:
    """Of this process. Raises Misconfigured."""
    from knit.settings.central import Central

    return Central.read(Environment.of_process())


@contextmanager
def connected(central: Central) -> Iterator[Console]:
    """PostgreSQL over one connection, and logging as the settings say."""
    from knit.app.console import open_console
    from knit.log import setup

    setup(central.log_level)
    with open_console(central) as console:
        yield console
