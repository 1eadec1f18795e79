"""The prover over a real solver and a fake API: what is set is removed, and nobody's value is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from knit.app.locks import KeyedLocks, LeasedLocks
from knit.core.model.certificate import CertId
from knit.core.model.challenge import Challenge, ChallengeId, Leftover, Record
from knit.dns.pauses import Pauses
from knit.dns.prover import Dns01, Shared, sweep, writing
from knit.errors import Busy, Interrupted, LeaseLost, NotVisible, Refused, Unreachable
from knit.ports.solving import Exclusive, HoldsOneValue, Paced, Settles, Solver, TakesTheName, Timing
from knit.providers import duckdns as duck
from knit.providers.base import Runtime, Values
from knit.providers.desec import Desec
from rig.dns_api.desec import FakeDesec
from rig.dns_api.duckdns import FakeDuckDns
from rig.dns_api.server import Response
from tests.clock import Clock

NAME = "_acme-challenge.example.org"
RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=lambda _: None)


class Journal:
    """Keeps what was set and not removed, in the order it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.open: dict[ChallengeId, Record] = {}
        self.lost = False

    def presenting(self, record: Record) -> ChallengeId:
        if self.lost:
            raise LeaseLost("another worker")
        self.told.append(f"presenting {record.value}")
        number = ChallengeId(abs(hash(record)))
        self.open[number] = record
        return number

    def presented(self, challenge: ChallengeId, state: dict[str, str] | None) -> None:
        self.told.append(f"presented {self.open[challenge].value}")

    def removed(self, challenge: ChallengeId) -> None:
        self.told.append(f"removed {self.open.pop(challenge).value}")

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("another worker")

    def unordered(self) -> None: ...
    def ordered(self, order_url: str, expires: datetime | None = None) -> None: ...
    def unreplaced(self, why: str) -> None: ...
    def finalizing(self) -> None: ...
    def shares_proofs(self) -> bool:
        return False


class Delegation:
    """Every challenge is delegated to one name, which shows everything at once unless `problem` is set."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    def locate(self, challenge: Challenge) -> Record:
        return Record(challenge=challenge, fqdn=NAME, zone="example.org")

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def api() -> Iterator[FakeDesec]:
    api = FakeDesec()
    api.add_zone("example.org")
    with api.serving():
        yield api
    assert api.complaints == []


def desec(api: FakeDesec) -> Desec:
    return Desec(FakeDesec.token, Timing(timeout=60, interval=2, ttl=3600), RUNTIME, url=api.url)


def prover(
    solver: Solver, journal: Journal, problem: Exception | None = None, exclusive: Exclusive | None = None
) -> Dns01:
    shared = Shared(delegation=Delegation(problem), exclusive=exclusive or KeyedLocks())
    return Dns01("desec", solver, journal, shared)


def challenge(value: str) -> Challenge:
    return Challenge(identifier="example.org", value=value, token="token", key_authorization="token.thumb")


def leftover(value: str, provider: str = "desec") -> Leftover:
    record = Record(challenge=challenge(value), fqdn=NAME, zone="example.org")
    return Leftover(id=ChallengeId(len(value)), cert_id=CertId(1), provider=provider, record=record, state=None)


def test_apex_and_wildcard_stand_side_by_side_and_are_both_removed(api: FakeDesec) -> None:
    journal = Journal()
    with prover(desec(api), journal).proving([challenge("apex"), challenge("wildcard")]):
        assert sorted(api.values(NAME)) == ["apex", "wildcard"]
    assert api.values(NAME) == []
    assert journal.open == {}


def test_the_journal_hears_of_a_value_before_it_is_set(api: FakeDesec) -> None:
    journal = Journal()
    api.fail(Response(status=400), match=api.is_write)
    with pytest.raises(Refused), prover(desec(api), journal).proving([challenge("one")]):
        pass
    assert journal.told[0] == "presenting one"


def test_a_value_whose_answer_was_lost_is_removed_all_the_same(api: FakeDesec) -> None:
    journal = Journal()
    api.seed("example.org", NAME, "one")
    api.fail(Response(status=500), times=3)
    with pytest.raises(Unreachable), prover(desec(api), journal).proving([challenge("one")]):
        pass
    assert api.values(NAME) == []
    assert journal.open == {}


@pytest.mark.parametrize("problem", [NotVisible("not there"), Interrupted("stopping")])
def test_values_are_removed_when_they_never_became_visible(api: FakeDesec, problem: Exception) -> None:
    journal = Journal()
    with pytest.raises(type(problem)), prover(desec(api), journal, problem).proving([challenge("one")]):
        pass
    assert api.values(NAME) == []
    assert journal.open == {}


def test_values_are_removed_when_the_ca_refuses(api: FakeDesec) -> None:
    journal = Journal()
    with pytest.raises(Refused, match="the CA"), prover(desec(api), journal).proving([challenge("one")]):
        raise Refused("the CA says no")
    assert api.values(NAME) == []


def test_a_value_that_cannot_be_removed_stays_in_the_journal_and_does_not_fail_the_proof(api: FakeDesec) -> None:
    journal = Journal()
    with prover(desec(api), journal).proving([challenge("one"), challenge("two")]):
        api.fail(Response(status=400))
    assert len(journal.open) == 1
    assert api.values(NAME) == [record.value for record in journal.open.values()]


def test_a_worker_that_lost_its_lease_leaves_the_value_to_the_new_owner(api: FakeDesec) -> None:
    journal = Journal()
    with prover(desec(api), journal).proving([challenge("one")]):
        journal.lost = True
    assert api.values(NAME) == ["one"]


def test_two_hundred_certificates_delegated_to_one_name_lose_no_value(api: FakeDesec) -> None:
    api.seed("example.org", NAME, "foreign")
    solver, exclusive, missing = desec(api), KeyedLocks(), []
    left: list[Leftover] = []

    def certificate(number: int) -> None:
        value, journal = f"value-{number}", Journal()
        with prover(solver, journal, exclusive=exclusive).proving([challenge(value)]):
            if value not in api.values(NAME):
                missing.append(value)
        left.extend(leftover(record.value) for record in journal.open.values())

    with ThreadPoolExecutor(25) as pool:
        list(pool.map(in_turn(certificate), range(200)))
    assert missing == []
    assert sweep(left, OneSolver(solver), lambda _: None, exclusive) == []
    assert api.values(NAME) == ["foreign"]


class Settling(Desec, Settles):
    """Says when all of its servers have what was set."""

    settled: Sequence[Mapping[str, str]] | None = None

    def present(self, record: Record) -> dict[str, str]:
        super().present(record)
        return {"value": record.value}

    def settle(self, states: Sequence[Mapping[str, str]]) -> None:
        self.settled = states


def test_a_provider_that_knows_its_servers_is_asked_when_all_values_are_set(api: FakeDesec) -> None:
    solver = Settling(FakeDesec.token, Timing(timeout=1, interval=1, ttl=3600), RUNTIME, url=api.url)
    with prover(solver, Journal()).proving([challenge("apex"), challenge("wildcard")]):
        assert solver.settled == [{"value": "apex"}, {"value": "wildcard"}]


class OneSlot(Paced, HoldsOneValue):
    """A provider that keeps one value per name."""

    def __init__(self) -> None:
        super().__init__(Timing(timeout=60, interval=2, ttl=60))
        self.value: str | None = None
        self.overwritten = False

    def slot(self, record: Record) -> str:
        return record.fqdn

    def present(self, record: Record) -> None:
        self.overwritten |= self.value is not None
        self.value = record.value

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        self.value = None


def in_turn(work: Callable[[int], None]) -> Callable[[int], None]:
    """As a worker's messages do: whoever finds a place taken comes again."""

    def again(number: int) -> None:
        while True:
            try:
                work(number)
            except Busy:
                time.sleep(0.005)
            else:
                return

    return again


def test_a_name_that_can_hold_one_value_is_held_from_setting_to_removal() -> None:
    solver, exclusive = OneSlot(), KeyedLocks()

    def certificate(number: int) -> None:
        with prover(solver, Journal(), exclusive=exclusive).proving([challenge(str(number))]):
            time.sleep(0.002)
            assert solver.value == str(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(in_turn(certificate), range(20)))
    assert not solver.overwritten


def test_two_values_for_a_name_that_can_hold_one_take_turns() -> None:
    challenges = [challenge("apex"), challenge("wildcard")]
    turns = prover(OneSlot(), Journal()).rounds(challenges)
    assert [list(turn) for turn in turns] == [[challenge("apex")], [challenge("wildcard")]]


def test_values_that_can_stand_side_by_side_are_proved_in_one_round(api: FakeDesec) -> None:
    challenges = [challenge("apex"), challenge("wildcard")]
    assert prover(desec(api), Journal()).rounds(challenges) == [challenges]


def duckdns(api: FakeDuckDns, given: Mapping[str, str] = MappingProxyType({})) -> Solver:
    timing = duck.PROVIDER.knobs.timing(Values(given))
    return duck.DuckDns(FakeDuckDns.token, timing, RUNTIME, url=api.url, apex=FakeDuckDns.apex)


@contextmanager
def unshared(name: str, *, patience: float | None = None, rest: float = 0.0) -> Iterator[None]:
    """For a test whose clock is not that of a lock."""
    yield


@pytest.mark.parametrize(("given", "waits"), [({}, 60), ({"DUCKDNS_SEQUENCE_INTERVAL": "7"}, 7)])
def test_between_two_values_of_one_certificate_lego_s_pause_passes(given: dict[str, str], waits: float) -> None:
    slept: list[float] = []
    api = FakeDuckDns()
    api.texts["_acme-challenge"] = ""
    with api.serving():
        shared = Shared(delegation=Delegation(), exclusive=unshared, pauses=Pauses(slept.append))
        proof = Dns01("duckdns", duckdns(api, given), Journal(), shared)
        for turn in proof.rounds([challenge("apex"), challenge("wildcard")]):
            with proof.proving(turn):
                assert [one.value for one in turn] == [api.texts["_acme-challenge"]]
    assert slept == [pytest.approx(waits, abs=1)]


class Spaced(Desec):
    """One challenge after the other, two seconds apart."""

    def __init__(self, api: FakeDesec, pause: float = 2) -> None:
        timing = Timing(timeout=60, interval=2, ttl=3600, pause=pause)
        super().__init__(FakeDesec.token, timing, RUNTIME, url=api.url)


def test_a_pause_counts_from_the_removal_and_another_certificate_need_not_wait(api: FakeDesec) -> None:
    slept: list[float] = []
    shared = Shared(delegation=Delegation(), exclusive=KeyedLocks(), pauses=Pauses(slept.append))
    for value in ("one", "two"):
        with Dns01("desec", Spaced(api), Journal(), shared).proving([challenge(value)]):
            pass
    assert slept == []
    proof = Dns01("desec", Spaced(api), Journal(), shared)
    for value in ("one", "two"):
        with proof.proving([challenge(value)]):
            assert slept == ([] if value == "one" else [pytest.approx(2, abs=0.5)])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of locks and pauses."""
    clock = Clock()
    for module in ("knit.app.locks", "knit.dns.pauses"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


def test_a_place_for_one_value_is_left_alone_for_a_while_by_other_certificates_too(clock: Clock) -> None:
    solver, journal = OneSlot(), Journal()
    solver.pause = 0.2
    shared = Shared(delegation=Delegation(), exclusive=KeyedLocks(), pauses=Pauses(clock.sleep))
    with Dns01("desec", solver, Journal(), shared).proving([challenge("first certificate")]):
        pass
    with pytest.raises(Busy), Dns01("desec", solver, journal, shared).proving([challenge("second certificate")]):
        pass
    assert journal.told == []
    clock.sleep(0.2)
    with Dns01("desec", solver, journal, shared).proving([challenge("second certificate")]):
        assert solver.value is not None


def test_a_stop_ends_the_pause(api: FakeDesec) -> None:
    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    shared = Shared(delegation=Delegation(), exclusive=KeyedLocks(), pauses=Pauses(stopping))
    proof = Dns01("desec", Spaced(api), Journal(), shared)
    with proof.proving([challenge("one")]):
        pass
    with pytest.raises(Interrupted), proof.proving([challenge("two")]):
        pass


def test_no_pause_of_zero_seconds_is_slept(api: FakeDesec) -> None:
    slept: list[float] = []
    shared = Shared(delegation=Delegation(), exclusive=KeyedLocks(), pauses=Pauses(slept.append))
    proof = Dns01("desec", Spaced(api, 0), Journal(), shared)
    for turn in proof.rounds([challenge("one"), challenge("two")]):
        with proof.proving(turn):
            assert len(turn) == 1
    assert slept == []


class ClearsAll(Paced, TakesTheName):
    """A provider that removes all values of a name at once."""

    def __init__(self) -> None:
        super().__init__(Timing(timeout=60, interval=2, ttl=60))
        self.values: set[str] = set()

    def slot(self, record: Record) -> str:
        return record.fqdn

    def present(self, record: Record) -> None:
        self.values.add(record.value)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        self.values.clear()


def test_two_certificates_never_meet_at_a_name_where_removing_one_value_removes_all() -> None:
    solver, exclusive, lost = ClearsAll(), KeyedLocks(), []

    def certificate(number: int) -> None:
        wanted = {f"{number} apex", f"{number} wildcard"}
        proof = prover(solver, Journal(), exclusive=exclusive)
        (turn,) = proof.rounds([challenge(value) for value in sorted(wanted)])
        with proof.proving(turn):
            time.sleep(0.002)
            if not wanted <= solver.values:
                lost.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(in_turn(certificate), range(20)))
    assert lost == []


def test_the_sweep_leaves_a_place_that_another_certificate_holds_for_later() -> None:
    solver, exclusive = OneSlot(), KeyedLocks()
    with prover(solver, Journal(), exclusive=exclusive).proving([challenge("new")]):
        with pytest.raises(Busy):
            sweep([leftover("old")], OneSolver(solver), lambda _: None, exclusive)
        assert solver.value == "new"
    assert sweep([leftover("old")], OneSolver(solver), lambda _: None, exclusive) == []


class OneSolver:
    def __init__(self, solver: Solver) -> None:
        self._solver = solver

    def solver(self, provider: str) -> Solver:
        if provider != "desec":
            raise Refused("gone")
        return self._solver

    def code(self, provider: str) -> str:
        return provider


def test_the_sweep_removes_leftovers_by_exact_value_and_tells_the_journal(api: FakeDesec) -> None:
    for value in ("old", "foreign"):
        api.seed("example.org", NAME, value)
    removed: list[ChallengeId] = []
    assert sweep([leftover("old")], OneSolver(desec(api)), removed.append, KeyedLocks()) == []
    assert api.values(NAME) == ["foreign"]
    assert removed == [leftover("old").id]


def test_one_leftover_that_stays_does_not_keep_the_sweep_from_the_others(api: FakeDesec) -> None:
    api.seed("example.org", NAME, "old")
    removed: list[ChallengeId] = []
    leftovers = [leftover("x", provider="vanished"), leftover("old")]
    problems = sweep(leftovers, OneSolver(desec(api)), removed.append, KeyedLocks())
    assert problems == [f"{NAME}: gone"]
    assert api.values(NAME) == []


class Held:
    """Leases of which one is held elsewhere until `free` says otherwise."""

    def __init__(self) -> None:
        self.free = threading.Event()

    @contextmanager
    def hold(self, name: str, *, rest: float = 0.0) -> Iterator[object | None]:
        yield object() if self.free.is_set() else None


def test_another_process_is_waited_for() -> None:
    leases = Held()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            leases.free.set()

    with LeasedLocks(leases, sleep)("dns desec name"):
        assert len(slept) == 3


def test_another_process_that_never_lets_go_is_nobody_s_failure() -> None:
    locks = LeasedLocks(Held(), lambda _: None, patience=0.05)
    with pytest.raises(Busy, match="another certificate is using"), locks("dns desec name"):
        pass


def test_a_stop_ends_the_wait_for_another_process() -> None:
    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    locks = LeasedLocks(Held(), stopping)
    with pytest.raises(Interrupted), locks("dns desec name"):
        pass


def test_a_place_that_another_certificate_holds_gives_the_thread_back_with_nothing_begun() -> None:
    solver, exclusive, journal = OneSlot(), KeyedLocks(), Journal()
    with prover(solver, Journal(), exclusive=exclusive).proving([challenge("first")]):
        with pytest.raises(Busy), prover(solver, journal, exclusive=exclusive).proving([challenge("second")]):
            pass
        with pytest.raises(Busy):
            sweep([leftover("old")], OneSolver(solver), lambda _: None, exclusive)
        assert solver.value == "first"
    assert journal.told == []
    with prover(solver, journal, exclusive=exclusive).proving([challenge("second")]):
        assert solver.value == "second"


class Asked:
    """Locks that know for how long each would have been waited for."""

    def __init__(self) -> None:
        self.patience: list[float | None] = []
        self._locks = KeyedLocks()

    def __call__(self, name: str, *, patience: float | None = None, rest: float = 0.0) -> AbstractContextManager[None]:
        self.patience.append(patience)
        return self._locks(name, patience=patience, rest=rest)


@pytest.mark.parametrize("held", ["a", "b", "c"])
def test_whichever_of_several_places_another_has_nothing_is_half_set(api: FakeDesec, held: str) -> None:
    solver, exclusive, journal = desec(api), Asked(), Journal()
    challenges = [
        Challenge(identifier=f"{name}.example.org", value=name, token=name, key_authorization=name) for name in "abc"
    ]
    shared = Shared(delegation=Delegation(), exclusive=exclusive)
    places = {one.value: shared.delegation.locate(one) for one in challenges}
    proof = Dns01("desec", solver, journal, shared)
    with writing("desec", solver, places[held], exclusive), pytest.raises(Busy):
        proof.proving(challenges).__enter__()
    assert set(exclusive.patience) == {0.0}
    assert journal.told == []
    assert not any(api.values(record.fqdn) for record in places.values())


def test_a_removal_that_must_wait_is_left_to_the_sweep(api: FakeDesec) -> None:
    solver, exclusive, journal = desec(api), Asked(), Journal()
    record = Record(challenge=challenge("one"), fqdn=NAME, zone="example.org")
    held = writing("desec", solver, record, exclusive)
    with prover(solver, journal, exclusive=exclusive).proving([challenge("one")]):
        held.__enter__()
    assert not any(step.startswith("removed") for step in journal.told)
    with pytest.raises(Busy):
        sweep([leftover("one")], OneSolver(solver), lambda _: None, exclusive)
    assert set(exclusive.patience) == {0.0}
    held.__exit__(None, None, None)
    assert api.values(NAME) == ["one"]
    assert sweep([leftover("one")], OneSolver(solver), lambda _: None, exclusive) == []
    assert api.values(NAME) == []


def test_a_record_set_that_another_writer_holds_gives_the_thread_back_with_nothing_begun(api: FakeDesec) -> None:
    solver, exclusive, journal = desec(api), KeyedLocks(), Journal()
    record = Record(challenge=challenge("one"), fqdn=NAME, zone="example.org")
    with writing("desec", solver, record, exclusive), pytest.raises(Busy):
        prover(solver, journal, exclusive=exclusive).proving([challenge("one")]).__enter__()
    assert journal.told == []
    assert api.values(NAME) == []


def test_another_process_that_holds_a_place_gives_the_thread_back_at_once() -> None:
    slept: list[float] = []
    locks = LeasedLocks(Held(), slept.append)
    with pytest.raises(Busy), locks("dns slot desec name", patience=0.0):
        pass
    assert slept == []


def test_what_was_waited_for_is_had_first_and_passed_on_to_the_round_that_needs_it(clock: Clock) -> None:
    solver, exclusive = OneSlot(), KeyedLocks()
    solver.pause = 0.2
    shared = Shared(delegation=Delegation(), exclusive=exclusive, pauses=Pauses(clock.sleep))
    first, second = (Dns01("desec", solver, Journal(), shared) for _ in range(2))
    with first.proving([challenge("first")]), pytest.raises(Busy) as met:
        second.proving([challenge("second")]).__enter__()
    lock = met.value.lock
    assert lock is not None
    with pytest.raises(Busy), second.having(lock):
        pass
    clock.sleep(0.2)
    with second.having(lock):
        with second.proving([challenge("second")]):
            assert solver.value is not None
        with pytest.raises(Busy), exclusive(lock, patience=0.0):
            pass
        clock.sleep(0.2)
        with exclusive(lock, patience=0.0):
            pass


def test_a_record_set_that_was_waited_for_is_given_back_once_it_is_written(api: FakeDesec) -> None:
    solver, exclusive = desec(api), KeyedLocks()
    record = Record(challenge=challenge("one"), fqdn=NAME, zone="example.org")
    proof = prover(solver, Journal(), exclusive=exclusive)
    with writing("desec", solver, record, exclusive), pytest.raises(Busy) as met:
        proof.proving([challenge("one")]).__enter__()
    assert met.value.lock is not None
    with proof.having(met.value.lock):
        with pytest.raises(Busy), writing("desec", solver, record, exclusive):
            pass
        with proof.proving([challenge("one")]), writing("desec", solver, record, exclusive):
            assert api.values(NAME) == ["one"]


def test_what_was_waited_for_and_is_not_needed_any_more_is_given_back(api: FakeDesec) -> None:
    exclusive = KeyedLocks()
    proof = prover(desec(api), Journal(), exclusive=exclusive)
    with proof.having("dns slot desec elsewhere"), proof.proving([challenge("one")]):
        pass
    with exclusive("dns slot desec elsewhere", patience=0.0):
        pass
