"""What a person has as a certificate: every form of PEM is one, and what is none is told how to become it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from knit.core import readable, x509
from knit.core.brought import Brought, File, brought
from knit.core.model.keys import KeyType
from knit.errors import Misconfigured
from tests.unit.core.test_x509 import AUTHORITY, GOOD, NAMES, NOW, PRIVKEY, Sheet, below, made, public

LEAF = made(GOOD, public(PRIVKEY))
PRIVATE = serialization.load_pem_private_key(PRIVKEY, None)
PEM, PKCS8, TRADITIONAL = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.PrivateFormat.TraditionalOpenSSL,
)
OPENSSL = shutil.which("openssl") or "openssl"
PLAIN = serialization.NoEncryption()


def bring(fullchain: bytes, privkey: bytes = PRIVKEY) -> Brought:
    return brought(File(name="full chain.pem", data=fullchain), File(name="key.pem", data=privkey), NOW)


def sentence(fullchain: bytes, privkey: bytes = PRIVKEY) -> str:
    with pytest.raises(Misconfigured) as refused:
        bring(fullchain, privkey)
    return str(refused.value)


def as_pkcs8(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(PEM, PKCS8, PLAIN)


@pytest.mark.parametrize(
    "fullchain",
    [
        LEAF + AUTHORITY,
        AUTHORITY + LEAF,
        (LEAF + AUTHORITY).replace(b"\n", b"\r\n"),
        (LEAF + AUTHORITY).replace(b"\n", b"\r"),
        b"Bag Attributes\n    friendlyName: x\nsubject=CN = x\n" + LEAF + b"issuer=CN = y\n" + AUTHORITY,
        LEAF.replace(b" CERTIFICATE", b" X509 CERTIFICATE") + AUTHORITY,
        b"\xef\xbb\xbf" + LEAF + AUTHORITY,
        (LEAF + AUTHORITY).decode().encode("utf-16"),
        PRIVKEY + LEAF + AUTHORITY,
        made(Sheet(names=("other.example",)), public(x509.CertKey.new(KeyType.EC256).pem)) + LEAF + AUTHORITY,
    ],
)
def test_every_form_of_pem_becomes_the_bytes_that_a_ca_s_answer_would_have_become(fullchain: bytes) -> None:
    found = bring(fullchain)
    assert (found.bundle.fullchain, found.bundle.privkey) == (LEAF + AUTHORITY, PRIVKEY)
    assert (found.names, found.key_type) == (NAMES, KeyType.EC256)


def test_one_whose_issuer_ends_sooner_ends_with_it() -> None:
    assert bring(below(timedelta(days=10))).leaf.not_after == NOW + timedelta(days=10)


@pytest.mark.parametrize(
    "privkey",
    [
        as_pkcs8(PRIVKEY),
        PRIVKEY.replace(b"\n", b"\r\n"),
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + PRIVKEY,
        b"Bag Attributes: <Empty Attributes>\n" + as_pkcs8(PRIVKEY) + LEAF + AUTHORITY,
        PRIVKEY.decode().encode("utf-16"),
    ],
)
def test_every_form_of_a_key_becomes_the_same_bytes(privkey: bytes) -> None:
    assert bring(LEAF + AUTHORITY, privkey).bundle.privkey == PRIVKEY


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        (replace(GOOD, ends=timedelta(minutes=-1)), "already over"),
        (replace(GOOD, begins=timedelta(hours=2)), "not yet begun"),
        (replace(GOOD, ca=True), "is a CA certificate"),
        (replace(GOOD, names=()), "in the subject alone"),
        (
            replace(GOOD, other=certificates.IPAddress(ip_address("10.0.0.1"))),
            "more than DNS names (IPAddress:10.0.0.1)",
        ),
        (replace(GOOD, names=("localhost",)), "it needs at least two labels"),
        (replace(GOOD, issuer="somebody else"), "lacks the certificate of the leaf's issuer ('CN=somebody else')"),
    ],
)
def test_a_certificate_that_could_not_be_served_is_refused_with_the_reason(sheet: Sheet, said: str) -> None:
    assert said in sentence(made(sheet, public(PRIVKEY)) + AUTHORITY)


def test_a_name_with_a_wildcard_above_it_is_no_matter_for_what_is_issued_already() -> None:
    both = ("www.knit.example", "*.knit.example", "knit.example")
    assert bring(made(replace(GOOD, names=both), public(PRIVKEY)) + AUTHORITY).names == both


def test_a_leaf_alone_is_whole_only_where_it_has_signed_itself() -> None:
    assert "append it, and those above it" in sentence(LEAF)
    own = ec.generate_private_key(ec.SECP256R1())
    pem = own.private_bytes(PEM, PKCS8, PLAIN)
    alone = made(Sheet(subject="me", issuer="me"), own.public_key(), own)
    assert bring(alone, pem).bundle.fullchain == alone


def test_what_nodes_would_refuse_is_refused_by_their_own_judgement() -> None:
    weak = ec.generate_private_key(ec.SECP192R1())
    authority = made(Sheet(names=(), subject="root", ca=True), weak.public_key(), weak)
    chain = made(GOOD, public(PRIVKEY), weak) + authority
    with pytest.raises(ValueError, match="EC key of 192 bits, which servers refuse"):
        readable.inspect(chain, PRIVKEY)
    assert "EC key of 192 bits, which servers refuse" in sentence(chain)


def private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(PEM, PKCS8, PLAIN)


@pytest.mark.parametrize(
    ("privkey", "said"),
    [
        (b"", "key.pem: holds no private key in PEM"),
        (PRIVKEY + PRIVKEY, "more than one private key"),
        (x509.CertKey.new(KeyType.EC256).pem, "holds no certificate of the key in key.pem"),
        (PRIVKEY.replace(b"M", b"N", 1), "the private key cannot be read"),
        (private(ec.generate_private_key(ec.SECP521R1())), "of another kind than EC P-256"),
        (private(rsa.generate_private_key(65537, 2560)), "of another kind than EC P-256"),
        (private(ed25519.Ed25519PrivateKey.generate()), "the private key cannot be read, or is neither"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "a key of OpenSSH"),
    ],
)
def test_a_key_that_cannot_be_served_is_refused_with_the_reason(privkey: bytes, said: str) -> None:
    found = sentence(LEAF + AUTHORITY, privkey)
    assert said in found
    assert not privkey or privkey.split(b"\n")[1].decode() not in found


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL], ids=["PKCS#8", "traditional"])
def test_an_encrypted_key_is_told_how_it_is_decrypted(form: serialization.PrivateFormat) -> None:
    assert isinstance(PRIVATE, ec.EllipticCurvePrivateKey)
    locked = PRIVATE.private_bytes(PEM, form, serialization.BestAvailableEncryption(b"secret"))
    assert "encrypted key: `openssl pkey -in key.pem -out key.pem.pem` decrypts it" in sentence(
        LEAF + AUTHORITY, locked
    )


Form = Callable[[Path], bytes]


def made_by(*words: str) -> Form:
    def make(folder: Path) -> bytes:
        (folder / "chain.pem").write_bytes(LEAF + AUTHORITY)
        (folder / "key.pem").write_bytes(PRIVKEY)
        subprocess.run([OPENSSL, *words, "-out", "made"], cwd=folder, check=True, capture_output=True)
        return (folder / "made").read_bytes()

    return make


FORMS: dict[str, Form] = {
    "PKCS#12": made_by("pkcs12", "-export", "-in", "chain.pem", "-inkey", "key.pem", "-passout", "pass:"),
    "PKCS#7": made_by("crl2pkcs7", "-nocrl", "-certfile", "chain.pem"),
    "PKCS#7, DER": made_by("crl2pkcs7", "-nocrl", "-certfile", "chain.pem", "-outform", "der"),
    "a certificate in DER": made_by("x509", "-in", "chain.pem", "-outform", "der"),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_pem_is_told_by_name_with_the_line_that_makes_pem_of_it(form: str, tmp_path: Path) -> None:
    """The line is run, and what it makes is taken."""
    (tmp_path / "full chain").write_bytes(FORMS[form](tmp_path))
    file = File(name="full chain", data=(tmp_path / "full chain").read_bytes())
    with pytest.raises(Misconfigured) as refused:
        brought(file, File(name="key.pem", data=PRIVKEY), NOW)
    said, line, _ = str(refused.value).split("`")
    assert said.startswith(f"full chain: is {form.partition(',')[0].removeprefix('a certificate in ')}")
    words = [OPENSSL, *shlex.split(line)[1:], *(("-passin", "pass:") if form == "PKCS#12" else ())]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    made = File(name="full chain.pem", data=(tmp_path / "full chain.pem").read_bytes())
    if form != "a certificate in DER":
        key = made if form == "PKCS#12" else File(name="key.pem", data=PRIVKEY)
        assert brought(made, key, NOW).bundle.fullchain == LEAF + AUTHORITY
    else:
        assert made.data == LEAF


def test_a_key_in_der_is_told_so() -> None:
    assert isinstance(PRIVATE, ec.EllipticCurvePrivateKey)
    der = PRIVATE.private_bytes(serialization.Encoding.DER, TRADITIONAL, PLAIN)
    assert "is DER: `openssl pkey -inform der -in key.pem" in sentence(LEAF + AUTHORITY, der)


def test_nothing_shows_the_bytes_of_a_key() -> None:
    found = bring(LEAF + AUTHORITY)
    assert "PRIVATE" not in repr(found)
    assert repr(File(name="key.pem", data=PRIVKEY)) == "File('key.pem')"
