"""Fenced writes: each is made only while the lease's row has its epoch, and the attempt's too where it names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from knit.core.text import ascii_only, clean
from knit.errors import KnitError, LeaseLost, Misconfigured, class_of
from knit.ports.leases import Lease
from knit.store.database import Database
from knit.store.queries import Row

T = TypeVar("T")


def fenced(database: Database, statement: str, lease: Lease, parameters: Mapping[str, object]) -> Row:
    """Run a fenced statement and give the row it wrote. Raises LeaseLost when the fence kept it from writing."""
    lease.check()
    row = database.row(statement, {**parameters, "lease": lease.name, "epoch": lease.epoch})
    if row is None:
        raise _lost(lease)
    return row


def write(database: Database, statement: str, lease: Lease, parameters: Mapping[str, object]) -> None:
    """Run a fenced statement. Raises LeaseLost when the fence kept it from writing."""
    lease.check()
    if not database.write(statement, {**parameters, "lease": lease.name, "epoch": lease.epoch}):
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease {lease.name} or its attempt has passed to another worker")


def told(error: BaseException, write: Callable[[dict[str, str]], T]) -> T:
    """Write an error's class and text, and give what `write` gives.

    Only our own errors are made to be shown: the text of any other may hold anything. A database in another encoding
    than UTF-8 may refuse a letter, and the failure must be recorded all the same: then it gets plain letters.
    """
    text = clean(str(error) if isinstance(error, KnitError) else "unexpected error, see the log")
    kind = class_of(error)
    try:
        return write({"error_class": kind, "error": text})
    except (Misconfigured, UnicodeError):
        if text.isascii():
            raise
        return write({"error_class": kind, "error": ascii_only(text)})
