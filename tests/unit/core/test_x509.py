"""Keys, requests, and every way in which an issued certificate can be wrong."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from knit.core import renewal, x509
from knit.core.issued import recorded
from knit.core.model.certificate import Bundle, CertId, CertSpec, Issued, Leaf
from knit.core.model.decision import Policy
from knit.core.model.issuer import Asked
from knit.core.model.keys import KeyType
from knit.errors import BundleMismatch

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NAMES = ("knit.example", "*.knit.example")
PRIVKEY = x509.CertKey.new(KeyType.EC256).pem
ROOT = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Sheet:
    """What a certificate says."""

    names: tuple[str, ...] = NAMES
    subject: str = "leaf"
    issuer: str = "root"
    begins: timedelta = timedelta(hours=-1)
    ends: timedelta = timedelta(days=90)
    ca: bool = False
    serial: int = 0x8000000000
    other: certificates.GeneralName | None = None


def name(text: str) -> certificates.Name:
    return certificates.Name([certificates.NameAttribute(certificates.NameOID.COMMON_NAME, text)])


def made(sheet: Sheet, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey = ROOT) -> bytes:
    alternative = [*map(certificates.DNSName, sheet.names), *([sheet.other] if sheet.other else [])]
    builder = (
        certificates.CertificateBuilder(name(sheet.issuer), name(sheet.subject), public, sheet.serial)
        .not_valid_before(NOW + sheet.begins)
        .not_valid_after(NOW + sheet.ends)
        .add_extension(certificates.BasicConstraints(ca=sheet.ca, path_length=None), critical=True)
        .add_extension(certificates.AuthorityKeyIdentifier(b"\x69\x88\x5b", None, None), critical=False)
    )
    if alternative:
        builder = builder.add_extension(certificates.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public(privkey: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_pem_private_key(privkey, None).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


AUTHORITY = made(Sheet(names=(), subject="root", ca=True, ends=timedelta(days=3650)), ROOT.public_key())
GOOD = Sheet()
SPEC = CertSpec(id=CertId(1), names=NAMES, provider="", valkey_key="", cert_path="", key_path="")


def chain(sheet: Sheet = GOOD) -> bytes:
    return made(sheet, public(PRIVKEY)) + AUTHORITY


def check(fullchain: bytes, privkey: bytes = PRIVKEY) -> Leaf:
    return x509.check(Bundle(fullchain=fullchain, privkey=privkey), NAMES, NOW)


def test_what_was_ordered_passes_and_its_facts_are_told() -> None:
    facts = check(chain())
    assert facts.names == frozenset(NAMES)
    assert (facts.not_before, facts.not_after) == (NOW - timedelta(hours=1), NOW + timedelta(days=90))
    assert facts.spki_sha256 == x509.CertKey.of(PRIVKEY).spki_sha256
    assert facts == x509.leaf(chain())


@pytest.mark.parametrize(
    ("sheet", "reason"),
    [
        (replace(GOOD, names=NAMES[:1]), "without '*.knit.example'"),
        (replace(GOOD, names=(*NAMES, "more.example")), "also for 'more.example'"),
        (replace(GOOD, names=()), "without"),
        (replace(GOOD, other=certificates.RFC822Name("a@knit.example")), "also for 'RFC822Name:a@knit.example'"),
        (replace(GOOD, ends=timedelta(minutes=-1)), "already over"),
        (replace(GOOD, begins=timedelta(hours=2)), "not yet begun"),
        (replace(GOOD, ca=True), "is a CA certificate"),
        (replace(GOOD, issuer="somebody else"), "not issued by the one after it"),
    ],
)
def test_a_certificate_that_is_not_what_was_ordered_is_refused(sheet: Sheet, reason: str) -> None:
    with pytest.raises(BundleMismatch) as refused:
        check(chain(sheet))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("fullchain", "reason"),
    [
        (b"", "does not parse"),
        (made(GOOD, public(PRIVKEY)), "without its issuer's"),
        (AUTHORITY + chain(), "for another key"),
        (chain() + b"# bought at a good CA\n", "besides certificates"),
        (chain() + PRIVKEY, "besides certificates"),
        (chain().replace(b"A", b"!", 1), "besides certificates"),
        (chain() + AUTHORITY * 9, "more than 10"),
        (made(GOOD, public(PRIVKEY), ec.generate_private_key(ec.SECP256R1())) + AUTHORITY, "not issued by"),
        (chain() + made(GOOD, public(PRIVKEY)), "is not a CA certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "does not parse"),
    ],
)
def test_a_chain_that_is_no_chain_is_refused(fullchain: bytes, reason: str) -> None:
    with pytest.raises(BundleMismatch, match=reason):
        check(fullchain)


AWAY = [
    (timedelta(days=-9), timedelta(days=-1)),
    (timedelta(hours=2), timedelta(days=9)),
]


@pytest.mark.parametrize(("begins", "ends"), AWAY)
def test_a_certificate_whose_issuer_is_not_valid_is_refused_and_one_further_up_may_be_over(
    begins: timedelta, ends: timedelta
) -> None:
    issuer = made(Sheet(names=(), subject="root", ca=True, begins=begins, ends=ends), ROOT.public_key())
    with pytest.raises(BundleMismatch, match=r"the certificate of the issuer \('CN=root'\) is valid from"):
        check(made(GOOD, public(PRIVKEY)) + issuer)
    middle = made(Sheet(names=(), subject="middle", ca=True), ROOT.public_key())
    assert check(made(replace(GOOD, issuer="middle"), public(PRIVKEY)) + middle + issuer).names == frozenset(NAMES)


def below(issuer_ends: timedelta, leaf: Sheet = GOOD) -> bytes:
    """A chain whose issuer is over then, and one further up that is over already."""
    over = made(Sheet((), subject="root", ca=True, begins=AWAY[0][0], ends=AWAY[0][1]), ROOT.public_key())
    middle = made(Sheet(names=(), subject="middle", ca=True, ends=issuer_ends), ROOT.public_key())
    return made(replace(leaf, issuer="middle"), public(PRIVKEY)) + middle + over


@pytest.mark.parametrize(
    ("issuer_ends", "leaf_ends", "ends"),
    [
        (timedelta(days=10), timedelta(days=90), timedelta(days=10)),
        (timedelta(days=100), timedelta(days=90), timedelta(days=90)),
        (timedelta(hours=1), timedelta(days=90), timedelta(hours=23)),
        (timedelta(hours=1), timedelta(hours=6), timedelta(hours=6)),
    ],
)
def test_a_certificate_is_over_when_its_issuer_is_and_lasts_a_day_of_its_own_at_least(
    issuer_ends: timedelta, leaf_ends: timedelta, ends: timedelta
) -> None:
    held = below(issuer_ends, replace(GOOD, ends=leaf_ends))
    assert check(held).not_after == NOW + ends
    assert x509.leaf(held).not_after == NOW + ends
    assert x509.ends(held) == NOW + min(issuer_ends, leaf_ends)


def test_a_ca_that_goes_on_with_an_issuer_that_ends_is_asked_twice_a_day_at_most() -> None:
    begins, turns = timedelta(), []
    while begins < timedelta(days=10):
        facts = x509.leaf(below(timedelta(days=10), replace(GOOD, begins=begins, ends=begins + timedelta(days=90))))
        begins = renewal.window_start(SPEC, issued(facts), Policy()) - NOW
        turns.append(begins)
    assert turns[0] < timedelta(days=7)
    assert len(turns) <= 6
    assert min(late - soon for soon, late in pairwise(turns)) >= timedelta(hours=12)


def issued(facts: Leaf) -> Issued:
    asked = Asked(issuer="acme", directory="", key_type=KeyType.EC256)
    return recorded(SPEC, asked, facts, issued_at=NOW, sha256="", generation=1, cert_path="", key_path="")


def test_another_key_is_refused() -> None:
    with pytest.raises(BundleMismatch, match="for another key"):
        check(chain(), x509.CertKey.new(KeyType.EC256).pem)


def test_a_key_that_cannot_be_read_is_never_shown() -> None:
    with pytest.raises(BundleMismatch) as refused:
        x509.CertKey.of(b"-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n")
    assert refused.value.__cause__ is None
    assert "c2VjcmV0" not in repr(refused.value)


def test_a_certificate_of_a_version_that_there_is_not_is_none() -> None:
    leaf = certificates.load_pem_x509_certificates(chain())[0].public_bytes(serialization.Encoding.DER)
    odd = leaf.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x3f", 1)
    with pytest.raises(BundleMismatch):
        check(ssl.DER_cert_to_PEM_cert(odd).encode())


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn.t positive")
@example(place=48, damage=b"/")  # Such a serial number.
@given(st.integers(min_value=0, max_value=len(chain()) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_chain_is_refused_or_still_what_was_ordered(place: int, damage: bytes) -> None:
    whole = chain()
    with suppress(BundleMismatch):
        assert check(whole[:place] + damage + whole[place + len(damage) :]).names == frozenset(NAMES)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_each_key_type_makes_a_request_for_exactly_the_names(key_type: KeyType) -> None:
    privkey = x509.CertKey.new(key_type).pem
    request = certificates.load_der_x509_csr(x509.CertKey.of(privkey).csr(NAMES))
    assert request.is_signature_valid
    assert list(request.subject) == []
    alternative = request.extensions.get_extension_for_class(certificates.SubjectAlternativeName).value
    assert alternative.get_values_for_type(certificates.DNSName) == list(NAMES)
    size = request.public_key().key_size  # type: ignore[union-attr]  # EC and RSA alone have it, as here
    assert str(size) in key_type.value


def test_keys_are_new_each_time() -> None:
    fingerprints = [x509.CertKey.new(KeyType.EC256).spki_sha256 for _ in range(5)]
    assert all(one != other for one, other in combinations(fingerprints, 2))


def test_the_ari_name_is_that_of_the_rfc() -> None:
    """The example of RFC 9773 section 4.1: a serial number whose first bit is set."""
    identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    certificate = (
        certificates.CertificateBuilder(name("root"), name("leaf"), public(PRIVKEY), 0x87654321)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(certificates.AuthorityKeyIdentifier(identifier, None, None), critical=False)
        .sign(ROOT, hashes.SHA256())
    )
    assert x509.ari_id(certificate) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
