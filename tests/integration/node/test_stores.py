"""Key stores as OpenSSL and Java read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content
from knit.core.outputs import Seal
from knit.errors import BundleMismatch
from knit.node.inspector import Inspector
from tests.integration.node import pki

STORES = pytest.mark.parametrize("content", [Content.PKCS12, Content.JKS])
JAVA = pytest.mark.skipif(shutil.which("keytool") is None, reason="needs Java's keytool")
PASSWORD = "changeit & 1"


def seal(content: Content, password: str = PASSWORD) -> Seal:
    return Seal(content=content, password=password, alias="knit")


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    with closing(Inspector(os.environ)) as inspector:
        yield inspector


def read_by_openssl(path: Path, password: str) -> bytes:
    command = ["openssl", "pkcs12", "-in", str(path), "-nodes", "-passin", "stdin"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60, input=password.encode()).stdout


def keytool(path: Path, kind: str, *command: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    every = ["keytool", *command, "-keystore", str(path), "-storetype", kind, "-storepass", password]
    return subprocess.run(every, check=False, capture_output=True, text=True, timeout=60)


def is_pair(text: bytes, pair: Bundle) -> bool:
    """Whether this PEM holds the pair's key and its chain, leaf first."""
    expected = x509.load_pem_x509_certificates(pair.fullchain)
    key = serialization.load_pem_private_key(text[text.index(b"-----BEGIN PRIVATE") :], None)
    wanted = serialization.load_pem_private_key(pair.privkey, None)
    found = x509.load_pem_x509_certificates(text)
    return key.public_key() == wanted.public_key() and found == expected


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=lambda key: type(key).__name__,
)
@pytest.mark.parametrize("password", ["changeit", "x", "with spaces & $igns 'quoted'"])
def test_openssl_reads_the_pair_out_of_pkcs12(
    inspector: Inspector, tmp_path: Path, key: pki.PrivateKey, password: str
) -> None:
    pair = pki.pair(key=key)
    (tmp_path / "a.p12").write_bytes(inspector.seal(pair, seal(Content.PKCS12, password)))
    assert is_pair(read_by_openssl(tmp_path / "a.p12", password), pair)


@JAVA
@STORES
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_java_reads_the_pair_out_of_each_kind_of_store(
    inspector: Inspector, tmp_path: Path, content: Content, kind: str
) -> None:
    pair = pki.pair(rsa=kind == "rsa")
    store = tmp_path / f"a.{content}"
    store.write_bytes(inspector.seal(pair, seal(content)))
    listed = keytool(store, content, "-list", "-v")
    assert "Entry type: PrivateKeyEntry" in listed.stdout
    assert "Certificate chain length: 2" in listed.stdout
    assert "Alias name: knit" in listed.stdout
    assert keytool(store, content, "-list", password="wrong password").returncode != 0
    # Java itself decrypts the key, and OpenSSL reads what it writes.
    copy = ["-importkeystore", "-srckeystore", str(store), "-srcstoretype", content, "-srcstorepass", PASSWORD]
    done = keytool(tmp_path / "copy.p12", "pkcs12", *copy, "-destkeypass", PASSWORD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert is_pair(read_by_openssl(tmp_path / "copy.p12", PASSWORD), pair)


@STORES
def test_a_store_opens_with_its_own_password_alone(inspector: Inspector, content: Content) -> None:
    store = inspector.seal(pki.pair(), seal(content))
    assert inspector.opens(store, seal(content))
    assert not inspector.opens(store, seal(content, "another"))
    assert not inspector.opens(store[:-1] + bytes([store[-1] ^ 1]), seal(content))
    for other in (b"", b"no store", pki.pair().fullchain, bytes(1_000_000)):
        assert not inspector.opens(other, seal(content))


@STORES
def test_no_store_is_made_of_what_is_no_pair(inspector: Inspector, content: Content) -> None:
    strange = Bundle(fullchain=pki.pair().fullchain, privkey=pki.pair().privkey)
    with pytest.raises(BundleMismatch, match="privkey is not the key of the certificate"):
        inspector.seal(strange, seal(content))
