"""What a CA of our own signs, looked at by OpenSSL and by a TLS client."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knit.core import ca_signing, new_ca
from knit.core import x509 as certificates
from knit.core.ca_signing import CertTemplate, CrlEntry
from knit.core.chain import canonical
from knit.core.keys import new_key
from knit.core.model.certificate import Bundle
from knit.core.model.keys import KeyType
from knit.core.own_ca import Authority, Chain
from knit.errors import BundleMismatch, Misconfigured
from knit.issuers.serials import new_serial

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = ("shop.example.org", "*.shop.example.org")
KEYS = {kind: certificates.CertKey.new(kind) for kind in (KeyType.EC256, KeyType.RSA2048)}
ROOT = new_ca.root("Test Root", new_key(KeyType.EC384), 1, now=NOW, lifetime=100 * DAY, permitted=("example.org",))
ISSUING = new_ca.intermediate(ROOT, "Test Issuing", new_key(KeyType.RSA2048), new_serial(), now=NOW, lifetime=50 * DAY)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def issued(
    authority: Authority = ISSUING,
    names: Sequence[str] = NAMES,
    kind: KeyType = KeyType.EC256,
    lifetime: timedelta = DAY,
    serial: int | None = None,
    **more: object,
) -> bytes:
    """A full chain."""
    valid = ca_signing.dates(NOW, lifetime, authority.chain.begins, authority.chain.ends)
    assert valid is not None
    number = new_serial() if serial is None else serial
    plan = CertTemplate(serial=number, names=tuple(names), not_before=valid[0], not_after=valid[1])
    leaf = ca_signing.leaf(authority, KEYS[kind].csr(names), plan, **more)  # type: ignore[arg-type]
    return leaf + authority.chain.sent


def verify(tmp_path: Path, fullchain: bytes, *more: str, crl: x509.CertificateRevocationList | None = None) -> str:
    """What `openssl verify` says with nothing but the root trusted."""
    (tmp_path / "root.pem").write_bytes(pem(ROOT.chain.top))
    (tmp_path / "full.pem").write_bytes(fullchain)
    words = ["openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "full.pem"]
    if crl is not None:
        (tmp_path / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        words += ["-crl_check", "-CRLfile", "crl.pem"]
    done = subprocess.run([*words, *more, "full.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("authority", [ROOT, ISSUING], ids=["root", "intermediate"])
def test_what_is_issued_passes_our_checks_and_those_of_openssl(
    authority: Authority, kind: KeyType, tmp_path: Path
) -> None:
    chain = issued(authority, kind=kind)
    facts = certificates.check(
        Bundle(fullchain=chain, privkey=KEYS[kind].pem), NAMES, NOW, roots=pem(authority.chain.issuing)
    )
    assert facts.not_after == NOW + DAY
    assert facts.not_before == NOW - ca_signing.BACKDATED
    assert chain == canonical(chain, KEYS[kind].csr(NAMES)), "in the form that is published"
    told = verify(tmp_path, chain, "-purpose", "sslserver", "-verify_hostname", "x.shop.example.org")
    assert told == "full.pem: OK\n"


def test_a_bare_leaf_of_a_root_is_whole_for_whoever_knows_the_root_and_for_nobody_else() -> None:
    bundle = Bundle(fullchain=issued(ROOT), privkey=KEYS[KeyType.EC256].pem)
    assert bundle.fullchain.count(b"BEGIN CERTIFICATE") == 1
    with pytest.raises(BundleMismatch):
        certificates.check(bundle, NAMES, NOW)


@pytest.mark.parametrize("kind", KEYS)
def test_a_leaf_has_the_extensions_of_rfc_5280(kind: KeyType) -> None:
    found = x509.load_pem_x509_certificate(issued(kind=kind, crl_url="http://crl.example.org/ca.crl"))
    by_class = {type(one.value): (one.critical, one.value) for one in found.extensions}
    issuer = ISSUING.chain.issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert by_class[x509.BasicConstraints] == (True, x509.BasicConstraints(ca=False, path_length=None))
    assert by_class[x509.KeyUsage] == (True, ca_signing.usage(kind is KeyType.RSA2048))
    purposes = (False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    assert by_class[x509.ExtendedKeyUsage] == purposes
    assert by_class[x509.AuthorityKeyIdentifier][1].key_identifier == issuer.digest
    assert by_class[x509.SubjectKeyIdentifier][1] == x509.SubjectKeyIdentifier.from_public_key(found.public_key())
    assert by_class[x509.SubjectAlternativeName][0] is False
    (point,) = by_class[x509.CRLDistributionPoints][1]
    assert point.full_name == [x509.UniformResourceIdentifier("http://crl.example.org/ca.crl")]
    assert found.subject.rfc4514_string() == "CN=shop.example.org"


def test_clients_are_identified_only_when_that_is_wanted() -> None:
    found = x509.load_pem_x509_certificate(issued(client_auth=True))
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
BELOW = st.lists(LABEL, min_size=1, max_size=6).map(lambda labels: ".".join((*labels, "example.org")))


@given(st.lists(BELOW, min_size=1, max_size=5, unique=True), st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_names_openssl_agrees_and_a_subject_that_is_empty_makes_the_names_critical(
    tmp_path: Path, names: list[str], wildcard: bool
) -> None:
    every = [f"*.{names[0]}", *names] if wildcard else names
    chain = issued(names=every)
    found = x509.load_pem_x509_certificate(chain)
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert alternative.critical is (len(every[0]) > 64) is (not found.subject)
    assert alternative.value.get_values_for_type(x509.DNSName) == every
    assert verify(tmp_path, chain, "-verify_hostname", names[0]) == "full.pem: OK\n"


@given(st.integers(1, 2**128 - 1))
@settings(max_examples=20, deadline=None)
def test_a_serial_number_is_positive_and_has_at_most_twenty_bytes(serial: int) -> None:
    found = x509.load_pem_x509_certificate(issued(serial=serial))
    assert found.serial_number == serial
    assert certificates.leaf(issued(serial=serial)).serial == f"{serial:x}"


def test_serial_numbers_are_of_128_random_bits() -> None:
    drawn = [new_serial() for _ in range(2000)]
    assert len(set(drawn)) == len(drawn)
    assert max(drawn).bit_length() == 128
    # Each bit is set about as often as not; the odds that one is not within these bounds are below one in 10^15.
    assert all(800 < sum(number >> bit & 1 for number in drawn) < 1200 for bit in range(128))


def test_a_certificate_never_outlives_those_above_it_and_an_hour_is_the_least() -> None:
    begins, ends = NOW - DAY, NOW + 3 * DAY
    assert ca_signing.dates(NOW, DAY, begins, ends) == (NOW - ca_signing.BACKDATED, NOW + DAY)
    assert ca_signing.dates(NOW, 9 * DAY, begins, ends) == (NOW - ca_signing.BACKDATED, ends)
    hour = timedelta(hours=1)
    assert ca_signing.dates(NOW, hour, begins, ends) == (NOW - ca_signing.BACKDATED, NOW + hour)
    assert ca_signing.dates(NOW, DAY, NOW, ends) == (NOW, NOW + DAY), "nor begins before them"
    assert ca_signing.dates(ends - timedelta(minutes=59), DAY, begins, ends) is None
    assert ca_signing.dates(ends, DAY, begins, ends) is None
    assert ca_signing.dates(begins - timedelta(seconds=1), DAY, begins, ends) is None


def test_openssl_refuses_what_name_constraints_forbid(tmp_path: Path) -> None:
    told = verify(tmp_path, issued(names=["shop.example.net"]))
    assert "permitted subtree violation" in told


def test_an_intermediate_has_the_limits_of_the_ca_above_it_and_no_others_below_it() -> None:
    (first, *_) = ISSUING.chain.limits
    assert first.permitted == ("example.org",)
    key = new_key(KeyType.EC256)
    wide = new_ca.intermediate(ROOT, "w", key, 7, now=NOW, lifetime=500 * DAY, permitted=("a.example.org",))
    assert wide.chain.ends == ROOT.chain.ends
    assert wide.chain.limits[0].permitted == ("a.example.org",)
    with pytest.raises(Misconfigured, match=r"example\.net is not permitted by the CA above"):
        new_ca.intermediate(ROOT, "w", key, 7, now=NOW, lifetime=DAY, permitted=("example.net",))
    with pytest.raises(Misconfigured, match="no more than 0 CA certificates below it"):
        new_ca.intermediate(ISSUING, "w", key, 7, now=NOW, lifetime=DAY)
    with pytest.raises(Misconfigured, match="not valid now"):
        new_ca.intermediate(ROOT, "w", key, 7, now=NOW + 101 * DAY, lifetime=DAY)


def below_root(*extensions: x509.ExtensionType) -> Authority:
    """An intermediate of somebody else's making."""
    key, root = new_key(KeyType.EC256), ROOT.chain.issuing
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject("Theirs", organization="Acme"))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 90 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ca_signing.ca_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(ca_signing.issuer_identifier(root), critical=False)
    )
    for one in extensions:
        critical = isinstance(one, x509.NameConstraints | x509.UnrecognizedExtension)
        builder = builder.add_extension(one, critical=critical)
    made = builder.sign(ROOT.key, hashes.SHA256())
    return Authority(Chain.of(pem(made) + pem(root)), key)


def subject(common_name: str, organization: str | None = None) -> x509.Name:
    parts = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items() if text is not None])


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def test_what_clients_let_a_ca_vouch_for_is_no_more_than_its_extended_key_usage(tmp_path: Path) -> None:
    for useless in (CLIENT, ANY):
        with pytest.raises(Misconfigured, match=r"'CN=Theirs,O=Acme' may not vouch for servers \(extended key usage: "):
            below_root(x509.ExtendedKeyUsage([useless]))
    for purposes, clients in (((SERVER,), False), ((SERVER, ANY), False), ((SERVER, CLIENT), True)):
        authority = below_root(x509.ExtendedKeyUsage(purposes))
        assert authority.chain.signs_clients is clients
        chain = issued(authority, client_auth=True)
        assert verify(tmp_path, chain, "-purpose", "sslserver") == "full.pem: OK\n"
        assert (verify(tmp_path, chain, "-purpose", "sslclient") == "full.pem: OK\n") is clients
    assert ISSUING.chain.signs_clients


def test_a_critical_extension_that_clients_do_not_know_is_refused_with_its_number() -> None:
    with pytest.raises(Misconfigured, match=r"'CN=Theirs,O=Acme' has a critical extension 1\.3\.6\.1\.4\.1\.99999"):
        below_root(UNKNOWN)


@pytest.mark.parametrize("limit", ["permitted", "excluded"])
def test_where_name_constraints_are_about_subjects_the_subject_is_empty(tmp_path: Path, limit: str) -> None:
    acme = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme")]))
    first = x509.DirectoryName(subject(NAMES[0]))
    found = x509.NameConstraints([acme], None) if limit == "permitted" else x509.NameConstraints(None, [first])
    authority = below_root(found)
    assert verify(tmp_path, issued(authority)) == "full.pem: OK\n"
    assert not x509.load_pem_x509_certificate(issued(authority)).subject
    assert x509.load_pem_x509_certificate(issued()).subject


def test_no_ca_is_made_below_one_that_limits_subjects() -> None:
    acme = x509.DirectoryName(subject("Acme"))
    limited = new_ca.root("L", new_key(KeyType.EC256), 1, now=NOW, lifetime=DAY).key
    parent = below_root(x509.NameConstraints([acme], None))
    with pytest.raises(Misconfigured, match="limits the subjects of those below it"):
        new_ca.intermediate(parent, "w", limited, 7, now=NOW, lifetime=DAY)


def test_a_list_of_revoked_certificates_counts_with_openssl(tmp_path: Path) -> None:
    good, bad = issued(), issued()
    serial = x509.load_pem_x509_certificate(bad).serial_number
    revoked = [
        CrlEntry(serial=serial, at=NOW, reason="keyCompromise"),
        CrlEntry(serial=9, at=NOW, reason="unspecified"),
    ]
    crl = ca_signing.crl(ISSUING, revoked, number=2**40, now=NOW, lifetime=7 * DAY)
    assert verify(tmp_path, good, crl=crl) == "full.pem: OK\n"
    assert "certificate revoked" in verify(tmp_path, bad, crl=crl)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2**40
    assert crl.next_update_utc == NOW + 7 * DAY
    entry, other = crl.get_revoked_certificate_by_serial_number(serial), crl.get_revoked_certificate_by_serial_number(9)
    assert entry is not None
    assert other is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert len(other.extensions) == 0, "that nothing is known is not said (RFC 5280 section 5.3.1)"


def test_a_client_that_trusts_the_root_shakes_hands_and_one_that_does_not_refuses(tmp_path: Path) -> None:
    (tmp_path / "full.pem").write_bytes(issued())
    (tmp_path / "key.pem").write_bytes(KEYS[KeyType.EC256].pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "full.pem", tmp_path / "key.pem")
    trusting = ssl.create_default_context(cadata=pem(ROOT.chain.top).decode())
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(server, trusting, "a.shop.example.org") == "CN=shop.example.org"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, trusting, "other.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(server, ssl.create_default_context(), "a.shop.example.org")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """The subject that the client saw; the bytes go through memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (asking, answering):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    der = asking.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


LEAF = x509.load_pem_x509_certificate(issued())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "holds no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----", "cannot be read as PEM certificates"),
        (pem(LEAF), "is no CA certificate"),
        (pem(ROOT.chain.top) + pem(ISSUING.chain.issuing), "is not issued by"),
    ],
)
def test_what_cannot_issue_is_no_chain(given: bytes, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        Chain.of(given)


def test_a_key_must_be_that_of_the_certificate_and_its_passphrase_the_right_one() -> None:
    def key(of: Authority, passphrase: bytes | None = None) -> bytes:
        how = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
        return of.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    chain = ISSUING.chain
    assert Authority.of(chain, key(ISSUING), None).chain is chain
    assert Authority.of(chain, key(ISSUING, b"pass"), b"pass").chain is chain
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- that it is refused is the test
    tiny = small.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    wrong = [
        (key(ROOT), None, "is not the key of"),
        (key(ISSUING, b"pass"), None, "a passphrase is needed"),
        (key(ISSUING, b"pass"), b"other", "or the passphrase is wrong"),
        (key(ISSUING), b"pass", "is not encrypted"),
        (b"junk", None, "cannot be read as a PEM private key"),
        (tiny, None, "must have 2048 to"),
    ]
    for text, passphrase, said in wrong:
        with pytest.raises(Misconfigured, match=said) as caught:
            Authority.of(chain, text, passphrase)
        assert "pass" not in str(caught.value).replace("passphrase", "")
