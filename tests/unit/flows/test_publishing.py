"""Bundles that wait, port by port: which are published, in place of what, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from knit.core import x509
from knit.core.digest import pair_digest
from knit.core.events import KEPT, Kind
from knit.core.model.attempt import Attempt, AttemptId, Ready, Step
from knit.core.model.certificate import Bundle, CertId, CertSpec
from knit.core.value import Parcel, Value
from knit.errors import Busy, ForeignValkey, Refused, RowHeld
from knit.flows.publish import Publish
from knit.ports.publication import Holder, Stored
from tests.unit.core.test_x509 import GOOD, NAMES, NOW, PRIVKEY, chain
from tests.unit.flows.test_orders import BEGUN, SPEC

BUNDLE = Bundle(fullchain=chain(), privkey=PRIVKEY)
SHA256 = pair_digest(BUNDLE.fullchain, BUNDLE.privkey)
OVER = Bundle(fullchain=chain(replace(GOOD, ends=timedelta(minutes=-1))), privkey=PRIVKEY)


def ready(number: int = 7, **other: Any) -> Ready:
    spec = replace(SPEC, id=CertId(number), valkey_key=f"k{number}")
    attempt = replace(BEGUN, id=AttemptId(number), cert_id=spec.id, step=Step.ISSUED)
    leaf = x509.leaf(BUNDLE.fullchain)
    made = Ready(attempt=attempt, spec=spec, issued=None, leaf=leaf, sha256=SHA256, generation=None)
    return replace(made, **other)


@dataclass
class World:
    """All ports of a publication."""

    waits: list[Ready]
    staged: dict[int, Bundle] = field(default_factory=dict)
    live: dict[str, bytes] = field(default_factory=dict)
    steps: list[tuple[str, Any]] = field(default_factory=list)
    retries: list[timedelta] = field(default_factory=list)
    held: Mapping[str, Holder] = field(default_factory=dict)
    held_rows: frozenset[int] = frozenset()
    refuses: Callable[[Sequence[str]], Exception | None] = lambda _: None
    changes: int = 0
    free: bool = True
    unseen: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.staged = self.staged or {one.attempt.id: BUNDLE for one in self.waits}

    def flow(self) -> Publish:
        this: Any = self
        belonging: Any = SimpleNamespace(id="ours", check=lambda: self.step("checked", None))
        move: Any = SimpleNamespace(run=self.moved_to)
        prune: Any = SimpleNamespace(run=lambda _: SimpleNamespace(count=0, refused=None, unseen=self.unseen))
        return Publish(
            store=this,
            leases=this,
            staging=this,
            publication=this,
            belonging=belonging,
            move=move,
            prune=prune,
            clock=lambda: NOW,
            tell=lambda told: self.step(told.kind.value, told.cert_id),
        )

    def step(self, what: str, about: Any) -> None:
        self.steps.append((what, about))

    def said(self, what: str) -> list[Any]:
        return [about for name, about in self.steps if name == what]

    @contextmanager
    def hold(self, name: str) -> Iterator[object | None]:
        assert name == "publish"
        yield object() if self.free else None

    def ready(self, *, begun: bool) -> list[Ready]:
        self.step("begun too", begun)
        return self.waits

    def bundles(self, attempts: Sequence[AttemptId]) -> dict[int, Bundle]:
        return {number: self.staged[number] for number in attempts if number in self.staged}

    def discard(self, attempts: Iterable[AttemptId]) -> None:
        self.step("discarded", list(attempts))

    def publishing(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        self.step("begun", [parcel.issued.generation for parcel in parcels])
        return parcels

    def publish(self, values: Sequence[tuple[str, bytes, str]]) -> list[str | None]:
        if error := self.refuses([key for key, _, _ in values]):
            raise error
        return [self._set(*one) for one in values]

    def _set(self, key: str, wire: bytes, expected: str) -> str | None:
        if self.changes and expected:
            self.changes -= 1
            self.live[key] = b"another"
        there = self.look([key])[key].token
        if there == expected:
            self.live[key] = wire
        return None if there == expected else there

    def look(self, keys: Iterable[str]) -> dict[str, Stored]:
        found = {}
        for key in keys:
            raw = self.live.get(key, b"")
            try:
                token = str(Value.from_wire(raw).generation)
            except Exception:  # noqa: BLE001 -- whatever it is
                token = f"#{hash(raw)}" if raw else ""
            found[key] = Stored(token, raw)
        return found

    def occupied(self, _: object) -> Mapping[str, Holder]:
        return self.held

    def record_published(self, parcels: Sequence[Parcel]) -> None:
        ids = [parcel.issued.cert_id for parcel in parcels]
        if self.held_rows.intersection(ids):
            raise RowHeld("somebody holds its row")
        self.step("recorded", ids)

    def close(self, attempt: Attempt, *, why: str) -> None:
        self.step("closed", attempt.id)

    def send_back(self, attempt: Attempt, *, error: object, retry_at: datetime) -> None:
        self.step("sent back", attempt.id)
        self.retries.append(retry_at - NOW)

    def give_up(self, attempt: Attempt, *, error: object, retry_at: datetime) -> None:
        self.step("given up", attempt.id)
        self.retries.append(retry_at - NOW)

    def complain(self, cert_ids: Sequence[CertId], error: object) -> None:
        self.step("complained", (list(cert_ids), str(error)))

    def moved(self) -> list[Any]:
        return []

    def moved_to(self, found: Sequence[tuple[CertSpec, Any]], _: object) -> Any:
        return SimpleNamespace(done=[spec.id for spec, _ in found], failed=())

    def recorded(self, keys: Iterable[str]) -> list[tuple[CertSpec, Any]]:
        return [(replace(SPEC, valkey_key="k"), SimpleNamespace(valkey_key=key)) for key in keys]

    def tidying_due(self) -> bool:
        return True

    def ended(self) -> list[AttemptId]:
        return [AttemptId(1)]


def test_what_waits_is_published_then_recorded_and_only_then_gone_from_staging() -> None:
    world = World([ready(7), ready(8)])
    assert world.flow().waiting().published == (7, 8)
    names = [name for name, _ in world.steps]
    assert names[:5] == ["begun too", "checked", "begun", "recorded", "discarded"]
    assert world.said("discarded") == [[7, 8]]
    assert world.said(Kind.CERTIFICATE_PUBLISHED.value) == [7, 8]
    for key in ("k7", "k8"):
        value = Value.from_wire(world.live[key])
        value.verify()
        assert (value.sha256, value.generation) == (SHA256, int(NOW.timestamp()))


UNWANTED: dict[str, dict[str, Any]] = {
    "removed": {"spec": None},
    "disabled": {"spec": replace(SPEC, enabled=False)},
    "of other names": {"spec": replace(SPEC, names=NAMES[:1])},
    "of more names": {"spec": replace(SPEC, names=(*NAMES, "more.example"))},
}


@pytest.mark.parametrize("how", UNWANTED)
def test_what_is_wanted_no_more_is_closed_and_forgotten(how: str) -> None:
    world = World([ready(**UNWANTED[how])])
    report = world.flow().waiting()
    assert (report.published, report.failed, world.live) == ((), 0, {})
    assert (world.said("closed"), world.said("discarded")) == ([7], [[7]])


def test_a_key_that_was_declared_compromised_is_given_up_and_not_tried_soon() -> None:
    world = World([ready(compromised=True)])
    assert world.flow().waiting().failed == 1
    assert (world.said("given up"), world.said("discarded"), world.live) == ([7], [[7]], {})
    assert world.retries[0] > timedelta(hours=12)


@pytest.mark.parametrize(
    ("other", "staged"),
    [
        ({"sha256": "0" * 64}, BUNDLE),
        ({}, Bundle(fullchain=BUNDLE.fullchain + b"\n", privkey=PRIVKEY)),
        ({}, None),
        ({"leaf": None, "sha256": None}, OVER),
        ({"leaf": x509.leaf(OVER.fullchain), "sha256": None}, OVER),
    ],
    ids=["another hash", "other bytes", "gone", "of an older knit, expired", "expired while it waited"],
)
@pytest.mark.parametrize("tries", [0, 2])
def test_what_is_not_what_was_handed_over_is_sent_back_ever_more_slowly(
    other: dict[str, Any], staged: Bundle | None, tries: int
) -> None:
    world = World([ready(tries=tries, **other), ready(8)], {8: BUNDLE} if staged is None else {7: staged, 8: BUNDLE})
    report = world.flow().waiting()
    assert (report.failed, report.published) == (1, (8,))
    assert (world.said("sent back"), world.said("discarded")) == ([7], [[8]])
    assert world.said(Kind.PUBLISH_FAILED.value) == [7]
    assert timedelta(minutes=0.8 * 10**tries) < world.retries[0] < timedelta(minutes=1.2 * 10**tries)


def test_of_many_that_are_refused_together_each_is_tried_alone() -> None:
    world = World([ready(7), ready(8), ready(9)])
    world.refuses = lambda keys: Refused("no") if "k8" in keys else None
    report = world.flow().waiting()
    assert (report.published, report.failed) == ((7, 9), 1)
    assert world.said("complained") == [([8], "no")]
    assert [8] not in world.said("discarded"), "its bundle keeps"


def test_a_valkey_that_is_another_s_is_no_certificate_s_fault() -> None:
    world = World([ready(7), ready(8)])
    world.refuses = lambda _: ForeignValkey("another installation's")
    with pytest.raises(ForeignValkey):
        world.flow().waiting()
    assert world.said("complained") == []


def as_value(generation: int, sha256: str | None = None) -> bytes:
    world = World([ready()])
    world.flow().waiting()
    value = Value.from_wire(world.live["k7"])
    assert value.mark is not None
    bundle = BUNDLE if sha256 is None else Bundle(fullchain=b"other", privkey=b"pair")
    mark = replace(value.mark, generation=generation)
    return Value.of(bundle, not_after=NOW, cert_path="/elsewhere", key_path="/k", mark=mark).to_wire()


def test_what_is_live_already_is_recorded_as_it_is() -> None:
    world = World([ready()], live={"k7": as_value(5)})
    assert world.flow().waiting().published == (7,)
    assert world.live == {"k7": as_value(5)}
    assert world.said("begun") == [[int(NOW.timestamp())]]


@pytest.mark.parametrize("ahead", [-5, 0, 1000])
def test_something_else_in_its_place_is_published_over_above_both(ahead: int) -> None:
    now = int(NOW.timestamp())
    world = World([ready()], live={"k7": as_value(now + ahead, "other")})
    assert world.flow().waiting().published == (7,)
    value = Value.from_wire(world.live["k7"])
    assert (value.sha256, value.generation) == (SHA256, max(now, now + ahead) + 1)
    assert world.said("begun") == [[now], [value.generation]], "begun under the one it gets"


def test_what_another_certificate_has_there_is_left_until_that_is_elsewhere() -> None:
    there = as_value(5, "other")
    world = World([ready()], live={"k7": there})
    world.held = {"k7": Holder(CertId(3), Value.from_wire(there).sha256)}
    assert world.flow().waiting().failed == 1
    assert world.live == {"k7": there}
    ((_, said),) = world.said("complained")
    assert "what certificate 3 has published" in said


def test_a_value_that_keeps_changing_is_given_up_for_now() -> None:
    world = World([ready()], live={"k7": b"another program's"}, changes=9)
    assert world.flow().waiting().failed == 1
    ((_, said),) = world.said("complained")
    assert "keeps changing" in said
    assert world.changes >= 7, "looked at once more, not for ever"


def test_of_many_that_are_published_the_one_whose_row_is_held_comes_again() -> None:
    world = World([ready(7), ready(8), ready(9)], held_rows=frozenset({8}))
    with pytest.raises(RowHeld):
        world.flow().waiting()
    assert (world.said("recorded"), world.said("discarded")) == ([[7], [9]], [[7], [9]])


def test_two_never_prune_at_once() -> None:
    world = World([ready()], free=False)
    with pytest.raises(Busy, match="another process is publishing"):
        world.flow().everything()
    assert world.steps == []


def test_a_pass_takes_what_another_began_tidies_and_indexes_what_the_index_has_lost() -> None:
    world = World([ready()], unseen=frozenset({"k", "moved away"}))
    assert world.flow().everything().refreshed == (SPEC.id,)
    assert world.said("begun too") == [True]
    assert [1] in world.said("discarded")


@pytest.mark.parametrize("was_published", [False, True])
def test_that_what_is_published_stays_is_said_only_where_something_is(was_published: bool) -> None:
    issued = SimpleNamespace(valkey_key="k7", generation=1) if was_published else None
    heard: list[Any] = []
    for world in (World([ready(issued=issued)], {8: BUNDLE}), World([ready(issued=issued)])):
        world.refuses = lambda _: Refused("no room")
        replace(world.flow(), tell=heard.append).waiting()
    assert [told.kind for told in heard] == [Kind.PUBLISH_FAILED] * 2
    assert [KEPT in told.detail.values() for told in heard] == [was_published] * 2
