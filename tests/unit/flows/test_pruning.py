"""What is taken out of Valkey, port by port: what was removed, what nothing explains, what must not be there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from knit.core import x509
from knit.core.digest import pair_digest
from knit.core.model.certificate import CertSpec
from knit.errors import LeaseLost
from knit.flows.prune import Prune, Pruned
from knit.ports.passes import Removals
from knit.ports.publication import Stored
from tests.unit.core.test_publication import NOW, OURS, raw
from tests.unit.core.test_x509 import PRIVKEY, chain
from tests.unit.flows.test_orders import SPEC

LONG_AGO = NOW - timedelta(days=8)


@dataclass
class World:
    """All ports of a prune. `removed` is what the list says each time it is asked; the last answer stays."""

    live: dict[str, bytes]
    index: set[str] = field(default_factory=set)
    wanted: frozenset[str] = frozenset()
    removed: list[frozenset[str]] = field(default_factory=lambda: [frozenset()])
    suspects: frozenset[str] = frozenset()
    noted: bool = False
    since: datetime = LONG_AGO
    bad_keys: frozenset[str] = frozenset()
    recorded_as: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    pruned: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    asked_since: list[Mapping[str, str]] = field(default_factory=list)

    def run(self, *, confirmed: bool = False) -> Pruned:
        this: Any = self
        lease: Any = SimpleNamespace(check=self.check)
        return Prune(installation=OURS, home=this, store=this, publication=this).run(lease, confirmed=confirmed)

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("another's")

    def survey(self) -> Any:
        return SimpleNamespace(members=frozenset(self.index))

    def look(self, keys: Sequence[str]) -> dict[str, Stored]:
        found = {key: self.live.get(key, b"") for key in keys}
        return {key: Stored(f"#{hash(value)}" if value else "", value) for key, value in found.items()}

    def prune(self, tokens: Mapping[str, str]) -> frozenset[str]:
        assert tokens == {key: self.look([key])[key].token for key in tokens}
        self.pruned += [key for key in tokens if key in self.live]
        for key in tokens:
            self.live.pop(key, None)
            self.index.discard(key)
        return frozenset(tokens)

    def removals(self) -> Removals:
        keys = self.removed.pop(0) if len(self.removed) > 1 else self.removed[0]
        return Removals(keys=keys, at=NOW, suspects=self.suspects, noted=self.noted)

    def clear_removals(self, keys: Iterable[str], at: datetime) -> None:
        assert at == NOW
        self.cleared += sorted(keys)

    def wanted_keys(self) -> frozenset[str]:
        return self.wanted

    def unexplained(self, tokens: Mapping[str, str]) -> dict[str, datetime]:
        self.asked_since.append(tokens)
        return dict.fromkeys(tokens, self.since)

    def compromised(self) -> frozenset[str]:
        return self.bad_keys

    def recorded(self, keys: Iterable[str]) -> list[tuple[CertSpec, Any]]:
        return [(SPEC, SimpleNamespace(valkey_key=key, sha256=self.recorded_as[key])) for key in keys]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str | None]]:
    """Each line: what has happened, to how many keys, and the first of them."""
    return [(line.message, vars(line)["keys"], vars(line).get("first")) for line in caplog.records]


def test_what_was_removed_is_taken_out_whether_the_index_has_it_or_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World({"a": raw(), "b": raw(), "c": raw()}, {"a", "c"}, frozenset({"c"}), [frozenset({"a", "b", "gone"})])
    assert world.run().count == 2, "what is gone already is not counted"
    assert (sorted(world.pruned), world.cleared) == (["a", "b"], ["a", "b", "gone"])
    assert said(caplog) == [("pruned", 2, None)]


def test_a_removal_of_what_is_gone_already_is_over_and_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World({}, removed=[frozenset({"gone"})])
    assert (world.run().count, world.cleared, said(caplog)) == (0, ["gone"], [])


def test_what_is_added_again_while_its_value_is_read_stays() -> None:
    world = World({"a": raw(), "b": raw()}, {"a", "b"}, frozenset({"b"}), [frozenset({"a", "b"}), frozenset({"a"})])
    world.run()
    assert (world.pruned, world.cleared) == (["a"], ["a"])


def test_what_another_has_put_under_a_removed_key_stays_and_the_removal_is_over() -> None:
    world = World({"a": raw(installation="another"), "b": b"text"}, set(), removed=[frozenset({"a", "b"})])
    assert world.run().count == 0
    assert (world.pruned, world.cleared) == ([], ["a", "b"])


@pytest.mark.parametrize("what", ["removed", "ripe", "compromised"])
def test_nothing_is_taken_out_under_a_lease_that_was_lost(what: str) -> None:
    world = World({"a": raw(), "b": pair(), "c": raw()}, {"a", "b", "c"}, frozenset({"b", "c"}), lost=True)
    if what == "removed":
        world.removed = [frozenset({"a"})]
    elif what == "compromised":
        world.wanted |= {"a"}
        suspect(world)
    with pytest.raises(LeaseLost):
        world.run()
    assert (world.pruned, world.cleared) == ([], [])


def pair() -> bytes:
    fullchain, privkey = chain().decode(), PRIVKEY.decode()
    value = json.loads(raw())
    digest = pair_digest(fullchain.encode(), privkey.encode())
    return json.dumps({**value, "fullchain": fullchain, "privkey": privkey, "sha256": digest}).encode()


def suspect(world: World, *, compromised: bool = True, recorded: bool = False) -> None:
    sha256 = str(json.loads(world.live["b"])["sha256"])
    world.suspects, world.recorded_as = frozenset({"b"}), {"b": sha256 if recorded else "0" * 64}
    world.bad_keys = frozenset({x509.CertKey.of(PRIVKEY).spki_sha256}) if compromised else frozenset({"another"})


@pytest.mark.parametrize(
    ("compromised", "recorded", "withdrawn"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_compromised_key_that_has_come_back_is_withdrawn(
    *, compromised: bool, recorded: bool, withdrawn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = World({"b": pair(), "c": raw()}, {"b", "c"}, frozenset({"b", "c"}))
    suspect(world, compromised=compromised, recorded=recorded)
    assert world.run().count == int(withdrawn)
    assert world.pruned == (["b"] if withdrawn else [])
    assert said(caplog) == ([("values with a compromised key withdrawn", 1, "b")] if withdrawn else [])


def test_what_nothing_explains_is_named_kept_and_taken_out_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    live = {"ours": raw(), "another's": raw(installation="another"), "text": b"x", "c": raw()}
    for since, pruned in ((NOW - timedelta(days=6), []), (LONG_AGO, ["ours"])):
        world = World(dict(live), {*live, "a name"}, frozenset({"c", "unseen"}), since=since)
        found = world.run()
        assert world.pruned == pruned
        assert set(found.unexplained) == {"ours", "a name"}
        assert found.foreign == {"another's", "text"}
        assert found.unseen == {"unseen"}
        assert "a name" not in world.index, "nobody's loss"
        assert found.count == len(pruned) + 1
    warnings = [
        ("values without a certificate", 2, "a name,ours"),
        ("values that this installation did not write", 2, "another's,text"),
    ]
    assert said(caplog) == [*warnings, ("pruned", 1, "a name"), *warnings, ("pruned", 2, "a name,ours")]


def test_where_everything_is_explained_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    World({"c": raw()}, {"c"}, frozenset({"c"})).run()
    assert not caplog.records


@pytest.mark.parametrize("confirmed", [False, True])
def test_the_guard_stops_what_can_only_be_a_mistake(confirmed: bool) -> None:
    live = {f"k{number}": raw() for number in range(12)}
    world = World({**live, "c": raw()}, {*live, "c"}, frozenset({"c"}))
    found = world.run(confirmed=confirmed)
    assert (found.refused is None) is confirmed
    assert len(world.pruned) == found.count == (12 if confirmed else 0)
    assert set(found.unexplained) == set(live)


@pytest.mark.parametrize("noted", [False, True])
def test_what_was_noted_is_forgotten_once_all_is_explained(noted: bool) -> None:
    world = World({"c": raw()}, {"c"}, frozenset({"c"}), noted=noted)
    world.run()
    assert world.asked_since == ([{}] if noted else [])
