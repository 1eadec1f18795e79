"""The store's classes are the ports: mypy holds each against its protocol."""

from __future__ import annotations

from knit import ports
from knit.ports.events import Events
from knit.store.accounts import Accounts
from knit.store.attempts import AttemptJournal, Attempts
from knit.store.events import EventLog
from knit.store.leases import HeldLease, Leases
from knit.store.passes import Passes

ACCOUNTS: type[ports.Accounts] = Accounts
JOURNAL: type[ports.Journal] = AttemptJournal
STORE: type[ports.Store] = Attempts
LEASES: type[ports.Leases] = Leases
LEASE: type[ports.Lease] = HeldLease
EVENTS: type[Events] = EventLog
PASSES: type[ports.PassStore] = Passes


def test_every_port_of_the_store_has_all_its_methods() -> None:
    for port, made in (
        (ports.Accounts, ACCOUNTS),
        (ports.Journal, JOURNAL),
        (ports.Store, STORE),
        (ports.PassStore, PASSES),
    ):
        wanted = {name for name in vars(port) if not name.startswith("_")}
        assert wanted <= set(dir(made))
