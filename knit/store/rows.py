"""From rows of Postgres to records. Every time comes back aware, because each connection runs in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from knit.core.model.attempt import Attempt, Ready, Step
from knit.core.model.certificate import CertSpec, Issued, Leaf
from knit.core.model.challenge import Challenge, Leftover, Record
from knit.core.model.decision import CertState, Known
from knit.core.model.issuer import Identity
from knit.core.model.keys import KeyType
from knit.core.names import split
from knit.core.wanted import OPTIONS, Wanted
from knit.errors import Misconfigured
from knit.store.columns import ATTEMPT, ISSUED, SPEC
from knit.store.queries import Row

ESCAPE = "\x01"
WRITTEN = {"1": ESCAPE, "2": "\n"}
"""What stands for which, after the escape, in a text of many keys."""


def spec_from(row: Row, prefix: str = "") -> CertSpec:
    """A row of knit_certs that has been adopted, so its names are known to be good."""
    facts = _facts(SPEC, row, prefix)
    wanted = key_type(facts["key_type"]) if facts["key_type"] else None
    return CertSpec(**{**facts, "names": tuple(facts["names"]), "key_type": wanted})


def wanted_from(row: Row) -> Wanted:
    """A row of knit_certs as it stands, good or bad."""
    return Wanted(names=_names_of(row["domains"]), **{name: row[name] for name in OPTIONS})


def _names_of(domains: str) -> tuple[str, ...]:
    try:
        return split(domains)
    except Misconfigured:
        return tuple(part.strip() for part in domains.split(","))


def key_type(text: str) -> KeyType:
    """Raises Misconfigured, naming the allowed words."""
    try:
        return KeyType(text)
    except ValueError:
        message = f"key type {text!r} is not one of {', '.join(KeyType)}"
        raise Misconfigured(message) from None


def issued_from(row: Row) -> Issued:
    """Columns of knit_issued, each under its own name after `i_`."""
    return Issued(**_facts(ISSUED, row, "i_"))


def attempt_from(row: Row, prefix: str = "") -> Attempt:
    """Columns of knit_attempts, each under its own name after the prefix."""
    facts = _facts(ATTEMPT, row, prefix)
    words = {"step": Step(facts["step"]), "key_type": KeyType(facts["key_type"])}
    return Attempt(**{**facts, **words, "names": tuple(facts["names"])})


def _facts(columns: Sequence[str], row: Row, prefix: str = "") -> Row:
    return {name: row[f"{prefix}{name}"] for name in columns}


@cache
def _but(record: type[Any], *others: str) -> Sequence[str]:
    """Fields of a record that are columns of the same name; `others` are put together from several."""
    return tuple(field.name for field in fields(record) if field.name not in others)


def state_from(row: Row) -> CertState:
    """The joined columns of knit_issued (`i_`), the open attempt (`a_`) and knit_schedule; absent ones are null."""
    return CertState(
        issued=None if row["i_cert_id"] is None else issued_from(row),
        attempt=None if row["a_id"] is None else attempt_from(row, "a_"),
        **_facts(_but(CertState, "issued", "attempt"), row),
    )


def known_from(row: Row) -> Known:
    """The joined columns of `state_from`, and of knit_certs (`c_`)."""
    spec = None if row["c_id"] is None else spec_from(row, "c_")
    facts = _facts(_but(Known, "spec", "state"), row)
    issuers = {name: Identity(*found) for name, found in (facts["issuers"] or {}).items()}
    return Known(spec=spec, state=state_from(row), **{**facts, "issuers": issuers})


def ready_from(row: Row) -> Ready:
    """The joined columns of an attempt (`a_`), knit_certs (`c_`) and knit_issued (`i_`)."""
    return Ready(
        attempt=attempt_from(row, "a_"),
        spec=None if row["c_id"] is None else spec_from(row, "c_"),
        issued=None if row["i_cert_id"] is None else issued_from(row),
        leaf=None if row["a_serial"] is None else _leaf_from(row),
        compromised=row["compromised"],
        **_facts(("sha256", "generation", "tries"), row, "a_"),
    )


def _leaf_from(row: Row) -> Leaf:
    return Leaf(names=frozenset(row["a_names"]), **_facts(_but(Leaf, "names"), row, "a_"))


def leftover_from(row: Row) -> Leftover:
    """A row of knit_challenges."""
    challenge = Challenge(**_facts(_but(Challenge), row))
    record = Record(challenge=challenge, **_facts(_but(Record, "challenge"), row))
    return Leftover(record=record, **_facts(_but(Leftover, "record"), row))


def keys_from(text: str | None) -> frozenset[str]:
    """Keys that Postgres put together as lines: one text is read faster than thousands of rows.

    A row that nobody has judged may have a line feed in its key. The statements write it so that it ends no line.
    """
    if text is None:
        return frozenset()
    lines = text.split("\n")
    return frozenset(map(_key_from, lines) if ESCAPE in text else lines)


def _key_from(line: str) -> str:
    first, *rest = line.split(ESCAPE)
    return first + "".join(WRITTEN[part[:1]] + part[1:] for part in rest)
