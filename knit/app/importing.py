"""What an import of a certificate has open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from knit.app.console import Console
from knit.app.stores import open_stores
from knit.core.events import Told
from knit.core.model.results import Result
from knit.flows.importing import Importing
from knit.settings.central import Worker
from knit.store.list.certs import Certs
from knit.store.list.imports import Imports
from knit.undumpable import keep_memory_private


@contextmanager
def importing(settings: Worker, console: Console) -> Iterator[Importing]:
    """Over the console's connection, and one to the certificate Valkey. The command says what the log would."""
    keep_memory_private()
    with ExitStack() as opened:
        stores = open_stores(settings, console.database, opened, _nobody)
        yield Importing(
            store=Imports(console.database, Certs(console.database, lambda: console.edit.allowed)),
            edit=console.edit,
            staging=stores.staging,
            home=stores.published.belonging.home,
            publication=stores.published.publication,
            belonging=stores.published.belonging,
            publish=stores.publish(),
            sleep=time.sleep,
        )


def _nobody(_: Told | Result) -> None:
    """Hears nothing."""
