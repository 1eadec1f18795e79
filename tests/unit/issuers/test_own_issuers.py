"""A CA of our own and the self-signed issuer, as flows see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from knit.core import x509 as certificates
from knit.core.ca_signing import CertTemplate, CrlEntry
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle, CertId
from knit.core.model.keys import KeyType
from knit.errors import AccountUnusable, IdentifierRejected, LeaseLost, Refused
from knit.issuers.ca import CaIssuer, CaPolicy
from knit.issuers.selfsigned import SelfSignedIssuer
from knit.ports.ca_register import NextList
from tests.unit.core.test_ca_signing import DAY, ISSUING, NAMES, NOW, ROOT, pem

KEY = certificates.CertKey.new(KeyType.EC256)
REQUEST = IssueRequest(names=NAMES, csr_der=KEY.csr(NAMES), cert_id=CertId(7))
DIRECTORY = ISSUING.chain.directory


@dataclass
class World:
    """The journal and the record of what was issued. Dies before its step number `last`."""

    steps: list[str] = field(default_factory=list)
    plans: dict[int, CertTemplate] = field(default_factory=dict)
    order: str | None = None
    last: int = 99
    kept: bytes = b""
    now: datetime = NOW

    def step(self, name: str) -> None:
        if len(self.steps) + 1 >= self.last:
            raise LeaseLost(name)
        self.steps.append(name)

    def ordered(self, order_url: str, expires: datetime | None = None) -> None:
        self.step("ordered")
        self.order = order_url

    def finalizing(self) -> None:
        self.step("finalizing")

    def shares_proofs(self) -> bool:
        raise AssertionError("nothing is proved here")

    def record(self, directory: str, cert_id: CertId | None, plan: CertTemplate) -> CertTemplate:
        assert (directory, cert_id) == (DIRECTORY, REQUEST.cert_id)
        self.step("recorded")
        return self.plans.setdefault(plan.serial, plan)

    def keep(self, chain: bytes) -> None:
        self.step("kept")
        self.kept = chain

    def revoke(self, directory: str, serial: int, reason: str) -> datetime:
        self.steps.append(f"{directory == DIRECTORY} {serial} {reason}")
        return NOW

    def next_crl(self, directory: str) -> NextList:
        assert directory == DIRECTORY
        return NextList(5, NOW, [CrlEntry(serial=77, at=NOW, reason="superseded")])

    def issuer(self, **policy: Any) -> CaIssuer:
        limits = CaPolicy(**{"lifetime": DAY, **policy})
        world: Any = self
        return CaIssuer("inside", ISSUING, limits, world, clock=lambda: self.now)

    def issue(self, request: IssueRequest = REQUEST, **policy: Any) -> bytes:
        world: Any = self
        return self.issuer(**policy).issue(request, world, world, self.keep)


def test_everything_is_recorded_before_it_is_signed_and_the_chain_is_kept() -> None:
    world = World()
    chain = world.issue()
    assert world.steps == ["ordered", "finalizing", "recorded", "kept"]
    assert world.kept == chain
    facts = certificates.check(Bundle(fullchain=chain, privkey=KEY.pem), NAMES, NOW, roots=world.issuer().roots)
    (plan,) = world.plans.values()
    assert (facts.serial, facts.not_after) == (f"{plan.serial:x}", plan.not_after)


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_an_attempt_that_dies_anywhere_issues_one_certificate(last: int) -> None:
    world = World(last=last)
    with pytest.raises(LeaseLost):
        world.issue()
    world.last, world.now = 99, NOW + timedelta(minutes=9)
    chain = world.issue(replace(REQUEST, order_url=world.order, finalized="finalizing" in world.steps))
    assert len(world.plans) == 1
    found = x509.load_pem_x509_certificate(chain)
    (plan,) = world.plans.values()
    assert (found.serial_number, found.not_valid_after_utc) == (plan.serial, plan.not_after)
    assert found.not_valid_after_utc == NOW + DAY + (timedelta() if last == 4 else timedelta(minutes=9))


@pytest.mark.parametrize("order", ["https://ca.example/order/1", "serial:", "serial:xyz", f"serial:{'f' * 33}", None])
def test_an_order_of_somebody_else_is_none(order: str | None) -> None:
    world = World()
    world.issue(replace(REQUEST, order_url=order))
    assert world.steps[0] == "ordered"


def test_names_are_refused_in_one_sentence_before_anything_is_journalled() -> None:
    world = World()
    wrong: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
        (("a.example.net",), {}, "not permitted by the name constraints of 'CN=Test Issuing'"),
        (NAMES, {"permitted": ("other.example.org",)}, "not permitted by issuer.inside.permitted, which permits other"),
        (NAMES, {"permitted": ()}, "permits no names"),
    ]
    for names, policy, said in wrong:
        with pytest.raises(IdentifierRejected, match=said) as caught:
            world.issue(replace(REQUEST, names=names), **policy)
        assert str(caught.value).startswith("issuer inside: ")
    assert world.steps == []


def test_what_a_ca_of_our_own_does_not_have_is_refused_instead_of_ignored() -> None:
    for request in (replace(REQUEST, profile="short"), replace(REQUEST, preferred_chain="X1")):
        with pytest.raises(Refused, match="issuer inside has no"):
            World().issue(request)
        with pytest.raises(Refused, match="issuer dev has no"):
            self_signed(request)


def test_a_ca_that_is_over_issues_nothing_and_says_until_when_it_was_valid() -> None:
    world = World(now=ISSUING.chain.ends)
    with pytest.raises(
        AccountUnusable, match=f"its certificate is valid .* to {ISSUING.chain.ends:%Y-%m-%dT%H:%M:%SZ}"
    ):
        world.issue()
    assert world.steps == [], "so the next issuer of the certificate may be asked"


def test_a_certificate_that_is_cut_short_by_the_end_of_its_ca_is_told(caplog: pytest.LogCaptureFixture) -> None:
    World().issue()
    assert caplog.records == []
    World().issue(lifetime=51 * DAY)
    (record,) = caplog.records
    assert record.getMessage() == "certificate ends with its CA"


def test_a_key_that_is_kept_gets_another_certificate_from_the_next_attempt() -> None:
    world = World()
    first, second = world.issue(), world.issue()
    assert len(world.plans) == 2
    assert certificates.leaf(first).spki_sha256 == certificates.leaf(second).spki_sha256


def test_a_revocation_goes_by_the_serial_number_and_a_list_says_it() -> None:
    world = World()
    assert world.issuer().revoke("4d", "superseded") == NOW
    assert world.steps == ["True 77 superseded"]
    with pytest.raises(Refused, match="must be one of unspecified, keyCompromise"):
        world.issuer().revoke("4d", "certificateHold")
    crl = world.issuer(crl_lifetime=2 * DAY).crl()
    assert crl.is_signature_valid(ISSUING.chain.issuing.public_key())  # type: ignore[arg-type]
    assert [one.serial_number for one in crl] == [77]
    assert crl.next_update_utc == NOW + 2 * DAY


def self_signed(request: IssueRequest = REQUEST, world: World | None = None) -> bytes:
    found: Any = world or World()
    return SelfSignedIssuer("dev", timedelta(hours=1), lambda: NOW).issue(request, found, found, found.keep)


def test_a_self_signed_certificate_passes_the_checks_and_each_has_a_ca_of_its_own() -> None:
    world = World()
    chain = self_signed(world=world)
    assert (world.steps, world.kept) == (["finalizing", "kept"], chain)
    facts = certificates.check(Bundle(fullchain=chain, privkey=KEY.pem), NAMES, NOW)
    assert facts.not_after == NOW + timedelta(hours=1)
    _, above = x509.load_pem_x509_certificates(chain)
    _, other = x509.load_pem_x509_certificates(self_signed())
    assert above.public_key() != other.public_key()
    assert above.subject != other.subject
    permitted = above.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    assert permitted == [x509.DNSName("shop.example.org")], "were its key ever had, it would be good for nothing else"


def test_the_root_of_our_own_is_whose_signature_is_enough() -> None:
    world: Any = World()
    assert CaIssuer("r", ROOT, CaPolicy(lifetime=DAY), world, clock=lambda: NOW).roots == pem(ROOT.chain.top)
