"""What a plan of a pass needs, and a forecast of limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from knit.app.allowed import allowed
from knit.app.clock import now
from knit.app.console import Console
from knit.core.model.decision import Rules
from knit.flows.forecast import Forecast
from knit.flows.plan import Planning
from knit.flows.room import Room
from knit.settings.central import Central, Worker
from knit.store.accounts.issuers import IssuerMemory
from knit.store.budget.budgets import Budgets
from knit.store.passes.passes import Passes


@contextmanager
def planning(settings: Worker, console: Console) -> Iterator[Planning]:
    """Over the console's connection, and one to the certificate Valkey."""
    from knit.store.publications.installation import Installations
    from knit.valkey.connect import connect
    from knit.valkey.layout import Layout
    from knit.valkey.publication import ValkeyPublication

    with ExitStack() as opened:
        link = connect(settings.valkey_url, name="knit-cli")
        opened.callback(link.close)
        ours = Installations(console.database).known().id
        yield Planning(
            installation=ours,
            store=Passes(console.database, allowed(settings)),
            memory=IssuerMemory(console.database),
            publication=ValkeyPublication(link, Layout(settings.index_key), ours),
            room=Room(store=Budgets(console.database), clock=now),
            rules=settings.rules,
        )


def forecast(central: Central, rules: Rules, console: Console) -> Forecast:
    """By these rules, over the console's connection."""
    room = Room(store=Budgets(console.database), clock=now)
    return Forecast(store=Passes(console.database, allowed(central)), room=room, rules=rules)
