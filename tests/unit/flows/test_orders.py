"""One attempt's order, port by port: what is kept before what, and what is wrong on our side ends no order."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from knit.core import x509
from knit.core.model.attempt import Attempt, AttemptId, IssueRequest, Renewed, Step
from knit.core.model.certificate import Bundle, CertId, CertSpec
from knit.core.model.keys import KeyType
from knit.errors import BundleMismatch, KnitError, LeaseLost, Misconfigured, OrderKept, OrderLost, Refused
from knit.flows.orders import Ordering
from knit.flows.proving import FORGIVEN
from knit.ports.journal import Forgiven
from tests.unit.core.test_x509 import GOOD, NAMES, NOW, PRIVKEY, chain

KEY = x509.CertKey.of(PRIVKEY)
SPEC = CertSpec(id=CertId(7), names=NAMES, provider="desec", valkey_key="k", cert_path="/a.crt", key_path="/a.key")
BEGUN = Attempt(
    id=AttemptId(1),
    cert_id=SPEC.id,
    step=Step.PLANNED,
    reason="x",
    names=NAMES,
    provider="desec",
    issuer="acme",
    directory="https://ca.example/dir",
    key_type=KeyType.EC256,
    profile=None,
    spki_sha256=KEY.spki_sha256,
    started_at=NOW - timedelta(minutes=1),
)
FINALIZED = replace(BEGUN, step=Step.FINALIZING, order_url="https://ca.example/order/1")


@dataclass
class World:
    """All ports of an order. `steps` are its effects, in their order."""

    steps: list[str] = field(default_factory=list)
    staged: Bundle | None = None
    requests: list[IssueRequest] = field(default_factory=list)
    chain: bytes = field(default_factory=chain)
    leaves: bool = False
    is_lost: bool = False
    missing: KnitError | None = None
    unknown: KnitError | None = None
    refuses: KnitError | None = None
    now: Any = NOW
    proves: bool = True

    def fill(self, attempt: Attempt, fresh: x509.CertKey | None = None) -> Renewed:
        lease: Any = SimpleNamespace(check=self.check, name="cert:7", epoch=1, at=NOW)
        return Ordering(ports=self, spec=SPEC, attempt=attempt, lease=lease).fill(fresh)

    # The lease.

    def check(self) -> None:
        if self.is_lost:
            raise LeaseLost("another has it")

    # The ports; each is this object itself.

    @property
    def store(self) -> Any:
        return self

    staging = store

    def failures(self, _: Attempt) -> Forgiven:
        return FORGIVEN

    def put(self, attempt: AttemptId, bundle: Bundle) -> None:
        assert attempt == BEGUN.id
        self.steps.append("chain kept" if bundle.fullchain else "key kept")
        self.staged = bundle

    def get(self, attempt: AttemptId) -> Bundle | None:
        assert attempt == BEGUN.id
        return self.staged

    def key_staged(self, _: object, attempt: Attempt, spki_sha256: str) -> None:
        assert self.staged is not None
        assert x509.CertKey.of(self.staged.privkey).spki_sha256 == spki_sha256 != attempt.spki_sha256
        self.steps.append("another key noted")

    def hand_over(self, _: object, attempt: Attempt, leaf: object, sha256: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.steps.append("handed over")

    def journal(self, *_: object) -> Any:
        return SimpleNamespace(close=lambda: None, leaves_records=lambda: self.leaves)

    def prover(self, provider: str, _: object) -> Any:
        self.steps.append(f"{provider} opened")
        if self.missing is not None:
            raise self.missing

    def issuer(self, attempt: Attempt) -> Any:
        assert attempt.id == BEGUN.id
        if self.unknown is not None:
            raise self.unknown
        return SimpleNamespace(issue=self.issue, roots=b"", proves=self.proves)

    def issue(self, request: IssueRequest, _: object, __: object, keep: Any) -> bytes:
        self.requests.append(request)
        self.steps.append("asked")
        keep(self.chain)
        return self.chain

    def clock(self) -> Any:
        return self.now

    def tell(self, told: Any) -> None:
        self.steps.append(told.kind.value)


def test_the_key_is_kept_before_the_ca_is_asked_and_the_chain_before_it_is_handed_over() -> None:
    world = World()
    world.fill(BEGUN, KEY)
    assert world.steps == ["key kept", "desec opened", "asked", "chain kept", "handed over", "certificate issued"]


@pytest.mark.parametrize("leaves", [True, False])
def test_records_that_stay_in_the_dns_are_told(leaves: bool) -> None:
    assert World(leaves=leaves).fill(BEGUN, KEY).leftovers is leaves


def test_a_worker_that_has_lost_its_lease_keeps_nothing_over_what_another_may_have() -> None:
    world = World(staged=Bundle(fullchain=b"", privkey=PRIVKEY), is_lost=True)
    with pytest.raises(LeaseLost):
        world.fill(FINALIZED)
    assert world.steps == ["asked"]


OTHER = Bundle(fullchain=b"", privkey=x509.CertKey.new(KeyType.EC256).pem)


@pytest.mark.parametrize("staged", [None, OTHER, Bundle(fullchain=b"", privkey=b"junk")])
def test_a_key_that_is_lost_is_made_anew_only_before_the_order_is_finalized(staged: Bundle | None) -> None:
    for step in (Step.PLANNED, Step.ORDERED):
        world = World(staged=staged)
        with suppress(BundleMismatch):
            world.fill(replace(BEGUN, step=step))
        assert world.steps[:2] == ["key kept", "another key noted"]
    world = World(staged=staged)
    with pytest.raises(OrderLost, match="gone from Valkey"):
        world.fill(FINALIZED)
    assert (world.steps, world.staged) == ([], staged)


def test_a_provider_that_is_not_set_up_costs_no_question_and_no_order_that_is_finalized() -> None:
    missing = Misconfigured("not set: DESEC_TOKEN")
    world = World(staged=Bundle(fullchain=b"", privkey=PRIVKEY), missing=missing)
    with pytest.raises(Misconfigured):
        world.fill(BEGUN)
    assert world.steps == ["desec opened"]
    world.steps.clear()
    world.fill(FINALIZED)
    assert world.steps == ["asked", "chain kept", "handed over", "certificate issued"]


def test_an_issuer_that_asks_for_no_proofs_needs_no_provider() -> None:
    world = World(proves=False, missing=Misconfigured("not set: DESEC_TOKEN"))
    world.fill(BEGUN, KEY)
    assert world.steps == ["key kept", "asked", "chain kept", "handed over", "certificate issued"]
    assert world.requests[0].cert_id == SPEC.id


@pytest.mark.parametrize(("days", "overdue"), [(0, False), (6, False), (8, True)])
def test_an_order_is_overdue_once_the_limits_of_a_week_count_it_no_more(days: int, *, overdue: bool) -> None:
    world = World(staged=Bundle(fullchain=b"", privkey=PRIVKEY))
    world.fill(replace(FINALIZED, started_at=NOW - timedelta(days=days)))
    (request,) = world.requests
    assert (request.overdue, request.finalized, request.order_url) == (overdue, True, FINALIZED.order_url)


def test_a_chain_that_an_earlier_run_has_kept_is_handed_over_without_a_question() -> None:
    world = World(staged=Bundle(fullchain=chain(), privkey=PRIVKEY))
    world.fill(FINALIZED)
    assert world.steps == ["handed over", "certificate issued"]


def test_a_kept_chain_that_is_not_fit_is_asked_for_again() -> None:
    unfit = chain(replace(GOOD, names=NAMES[:1]))
    world = World(staged=Bundle(fullchain=unfit, privkey=PRIVKEY))
    world.fill(FINALIZED)
    assert world.steps == ["asked", "chain kept", "handed over", "certificate issued"]
    world = World(staged=Bundle(fullchain=unfit, privkey=PRIVKEY), chain=unfit)
    with pytest.raises(BundleMismatch, match="`knit renew --force` orders another"):
        world.fill(FINALIZED)
    assert world.staged == Bundle(fullchain=unfit, privkey=PRIVKEY)


def test_a_chain_that_has_run_out_while_it_was_kept_is_given_up() -> None:
    over = chain(replace(GOOD, names=NAMES[:1], begins=timedelta(days=-9), ends=timedelta(days=-1)))
    world = World(staged=Bundle(fullchain=over, privkey=PRIVKEY), chain=over)
    with pytest.raises(Refused, match="kept until it ran out"):
        world.fill(replace(FINALIZED, started_at=NOW - timedelta(days=9)))
    with pytest.raises(BundleMismatch):
        world.fill(FINALIZED)


def test_nothing_that_is_wrong_on_our_side_ends_an_order_that_may_be_a_certificate() -> None:
    wrong = {"unknown": Misconfigured("no such issuer"), "refuses": Refused("PostgreSQL refused a value")}
    for name, error in wrong.items():
        world = World(staged=Bundle(fullchain=b"", privkey=PRIVKEY), **{name: error})  # type: ignore[arg-type]
        with pytest.raises(OrderKept, match="the order and its key are kept"):
            world.fill(FINALIZED)
    with pytest.raises(Misconfigured):
        World(unknown=wrong["unknown"]).fill(BEGUN, KEY)
