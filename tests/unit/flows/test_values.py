"""What is live beside what is recorded, port by port: what is taken as it is, and what is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from knit.core import x509
from knit.core.model.certificate import Bundle, CertId, CertSpec, Issued
from knit.core.model.decision import Rules
from knit.core.model.issuer import Terms
from knit.core.value import Mark, Value
from knit.flows.values import Values
from tests.unit.core.test_x509 import GOOD, NAMES, NOW, PRIVKEY, chain
from tests.unit.flows.test_orders import KEY, SPEC

BUNDLE = Bundle(fullchain=chain(), privkey=PRIVKEY)
OTHER = Bundle(fullchain=chain(replace(GOOD, serial=0x77)), privkey=PRIVKEY)
DIRECTORY = "https://ca.example/dir"


def value(
    generation: int | None = 5, bundle: Bundle = BUNDLE, *, installation: str = "ours", cert_id: int = 7, **other: Any
) -> Value:
    mark = Mark(
        cert_id=CertId(cert_id),
        generation=generation or 0,
        issued_at=NOW - timedelta(hours=1),
        directory=DIRECTORY,
        installation=installation,
    )
    leaf = x509.leaf(bundle.fullchain)
    made = Value.of(bundle, not_after=leaf.not_after, cert_path="/a.crt", key_path="/a.key", mark=mark)
    return replace(made, mark=None if generation is None else mark, **other)


def issued(generation: int = 5, bundle: Bundle = BUNDLE) -> Issued:
    as_live, leaf = value(generation, bundle), x509.leaf(bundle.fullchain)
    return Issued(
        cert_id=SPEC.id,
        names_key=SPEC.names_key,
        issuer="acme",
        directory=DIRECTORY,
        key_type="ec256",
        profile=None,
        serial=leaf.serial,
        ari_id=None,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issued_at=NOW,
        sha256=as_live.sha256,
        generation=generation,
        valkey_key="k",
        cert_path="/a.crt",
        key_path="/a.key",
    )


@dataclass
class World:
    """All ports beside what is live at `k`."""

    raw: bytes
    recorded_as: Issued | None = None
    bad_keys: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    host: str | None = None
    written: list[tuple[Issued, str, str | None]] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def flow(self) -> Values:
        this: Any = self
        rules = Rules(issuers=(Terms(name="acme", directory="https://configured.example/dir"),))
        return Values(store=this, home=this, publication=this, rules=rules, clock=lambda: NOW, tell=lambda _: None)

    def live(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.raw for key in keys if key == "k" and self.raw}

    def compromised(self) -> frozenset[str]:
        return self.bad_keys

    def without_fingerprint(self) -> frozenset[str]:
        return self.unknown

    def record_fingerprints(self, found: Mapping[str, str]) -> None:
        self.fingerprints.update(found)

    def original_account_host(self) -> str | None:
        return self.host

    def record_adopted(self, facts: Issued, spki: str, *, before: str | None = None) -> None:
        self.written.append((facts, spki, before))

    def published_hashes(self) -> dict[str, Any]:
        one = self.recorded_as
        return {} if one is None else {"k": (one.sha256, one.generation, one.not_after)}

    def recorded(self, keys: Iterable[str]) -> list[tuple[CertSpec, Issued]]:
        assert list(keys) == ["k"]
        return [] if self.recorded_as is None else [(SPEC, self.recorded_as)]


BAD = frozenset({KEY.spki_sha256})


@pytest.mark.parametrize(
    ("live", "recorded", "taken"),
    [
        (value(6), issued(5), True),
        (value(5), None, True),
        (value(5), issued(5), False),
        (value(4), issued(5), False),
        (value(6, installation="another"), issued(5), False),
        (value(6, cert_id=8), issued(5), False),
        (value(None), issued(5), False),
        (value(2**50), issued(5), False),
        (value(6, sha256="0" * 64), issued(5), False),
        (value(6, Bundle(fullchain=chain(replace(GOOD, names=NAMES[:1])), privkey=PRIVKEY)), issued(5), False),
    ],
)
def test_our_own_newer_value_is_taken_and_no_other(live: Value, recorded: Issued | None, *, taken: bool) -> None:
    world = World(live.to_wire())
    assert world.flow().take_newer(SPEC, recorded, "ours") is taken
    assert len(world.written) == int(taken)
    if taken:
        ((facts, spki, before),) = world.written
        assert (facts.generation, facts.valkey_key, spki) == (live.generation, "k", KEY.spki_sha256)
        assert before == (None if recorded is None else recorded.sha256)
        assert facts.directory == DIRECTORY


def test_a_value_with_a_compromised_key_is_neither_taken_nor_adopted() -> None:
    world = World(value(6).to_wire(), bad_keys=BAD)
    assert not world.flow().take_newer(SPEC, issued(5), "ours")
    world.flow().adopt({"k": SPEC})
    assert world.written == []


def test_a_value_is_adopted_with_the_directory_that_it_names() -> None:
    for live, host, directory in (
        (value(5), None, DIRECTORY),
        (value(None), None, "https://configured.example/dir"),
        (value(None), "configured.example", "https://configured.example/dir"),
    ):
        world = World(live.to_wire(), host=host)
        world.flow().adopt({"k": SPEC})
        ((facts, _, _),) = world.written
        assert facts.directory == directory


@pytest.mark.parametrize(
    ("raw", "is_lost", "is_recorded"),
    [
        (value(5).to_wire(), False, False),
        (b"junk", True, False),
        (value(5, sha256="0" * 64).to_wire(), True, False),
        (value(6, Bundle(fullchain=BUNDLE.fullchain, privkey=b"")).to_wire(), True, False),
        (value(6, OTHER).to_wire(), False, True),
        (value(4, OTHER).to_wire(), True, False),
        (value(6).to_wire(), False, False),
        (b"", True, False),
    ],
    ids=["as recorded", "junk", "damaged", "half a pair", "newer", "older", "the same pair", "gone"],
)
def test_what_is_damaged_or_older_is_lost_and_what_is_newer_is_recorded(
    raw: bytes, *, is_lost: bool, is_recorded: bool
) -> None:
    world = World(raw, issued(5))
    assert world.flow().find_lost(frozenset({"k"})) == (frozenset({"k"}) if is_lost else frozenset())
    assert len(world.written) == int(is_recorded)


def test_keys_that_an_earlier_knit_did_not_fingerprint_are_looked_at() -> None:
    world = World(value(5).to_wire(), issued(5), unknown=frozenset({"k", "elsewhere"}))
    world.flow().find_lost(frozenset({"k"}))
    assert world.fingerprints == {value(5).sha256: KEY.spki_sha256}
