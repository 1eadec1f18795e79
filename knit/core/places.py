"""Where challenges may be written: a CNAME, which others may control, must not lead our credentials anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from knit.core.model.challenge import Record
from knit.errors import Refused

LABEL = "_acme-challenge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The names at which one account may write. `variable` is what the user calls the list; None: there is no list.

    An entry is a name, which allows it and all names below it, or a pattern in which `*` stands for any text.
    """

    variable: str
    entries: tuple[str, ...] | None = None

    @classmethod
    def read(cls, variable: str, text: str | None) -> Allowed:
        """From the variable's value: entries with commas or blanks between them."""
        if text is None:
            return cls(variable=variable)
        names = text.replace(",", " ").lower().split()
        return cls(variable=variable, entries=tuple(name.rstrip(".") for name in names))

    def check(self, record: Record) -> None:
        """Raises Refused, naming the list, for a place that is not on it."""
        if self.entries is None or any(_fits(record.fqdn, entry) for entry in self.entries):
            return
        name, way = record.challenge.name, ""
        if record.fqdn != name:
            way = f" ({name} leads there by CNAME)"
        raise Refused(f"{record.fqdn}{way} is not a place where challenges may be written: {self.variable} has no such")


def is_odd(name: str, target: str) -> bool:
    """Whether a challenge's name leads to one that is not made for challenges."""
    return target != name and target.partition(".")[0] != LABEL


def _fits(fqdn: str, entry: str) -> bool:
    if "*" in entry:
        return fnmatchcase(fqdn, entry.replace("[", "[[]"))
    return fqdn == entry or fqdn.endswith(f".{entry}")


@contextmanager
def explained(record: Record) -> Iterator[None]:
    """Adds to a refusal how the record came to stand where it does: provider and user may think of another zone."""
    try:
        yield
    except Refused as e:
        why = _why_there(record)
        if not why:
            raise
        raise type(e)(f"{e}; {why}") from None


def _why_there(record: Record) -> str:
    name = record.challenge.name
    if record.fqdn != name:
        return f"{name} leads there by CNAME, and LEGO_DISABLE_CNAME_SUPPORT=true writes at that name itself"
    if "." not in record.zone:
        return f"only the top-level zone {record.zone} answers for {record.challenge.identifier}: is it registered?"
    return ""
