"""The store's classes are the ports: mypy holds each against its protocol."""

from __future__ import annotations

from knit.ports import issuing, journal, leases, passes
from knit.ports.events import Events
from knit.store.accounts.accounts import Accounts
from knit.store.events.events import EventLog
from knit.store.journal.attempts import Attempts
from knit.store.journal.holding import Holding
from knit.store.journal.open_journal import AttemptJournal
from knit.store.leases.leases import HeldLease, Leases
from knit.store.passes.passes import Passes

ACCOUNTS: type[issuing.Accounts] = Accounts
JOURNAL: type[journal.Journal] = AttemptJournal
HOLDING: type[journal.Holding] = Holding
STORE: type[journal.Attempts] = Attempts
LEASES: type[leases.Leases] = Leases
LEASE: type[leases.Lease] = HeldLease
EVENTS: type[Events] = EventLog
PASSES: type[passes.Passes] = Passes


def test_every_port_of_the_store_has_all_its_methods() -> None:
    for port, made in (
        (issuing.Accounts, ACCOUNTS),
        (journal.Journal, JOURNAL),
        (journal.Holding, HOLDING),
        (journal.Attempts, STORE),
        (passes.Passes, PASSES),
    ):
        wanted = {name for name in vars(port) if not name.startswith("_")}
        assert wanted <= set(dir(made))
