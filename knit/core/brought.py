"""A certificate and its key as a person has them in files, put into the form that is published.

Any PEM will do: line ends, text around the blocks, their order, both in one file. What is no PEM is named, with the
line that makes it PEM.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Final, NoReturn

from cryptography import x509 as certificates
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from knit.core import readable, x509
from knit.core.chain import NoCertificates, issued_by, ordered
from knit.core.model.certificate import Bundle, Leaf
from knit.core.model.keys import KeyType
from knit.core.names import normalise
from knit.errors import BundleMismatch, Misconfigured

LARGEST: Final = 1 << 20
"""Bytes of a file. A chain of ten certificates has some 20,000."""

_KEY: Final = re.compile(
    rb"-----BEGIN ((?:(?:EC|RSA|DSA|ENCRYPTED|OPENSSH) )?PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL
)
_PKCS7_OID: Final = bytes.fromhex("06092a864886f70d0107")
_WIDE: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What a file holds. It may be a key."""

    name: str
    data: bytes

    def __repr__(self) -> str:
        """Without the bytes."""
        return f"File({self.name!r})"

    @property
    def text(self) -> bytes:
        """As ASCII, also where an editor or a shell has written it in two bytes for each character."""
        encoding = _WIDE.get(self.data[:2])
        return self.data if encoding is None else self.data.decode(encoding, "replace").encode("ascii", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A pair that servers can read. `names` are normalised, in the order of the certificate."""

    bundle: Bundle
    leaf: Leaf
    names: tuple[str, ...]
    key_type: KeyType


def brought(fullchain: File, privkey: File, now: datetime) -> Brought:
    """The pair in these files, which may be one. Raises Misconfigured, naming the file and what to do."""
    key = _key(privkey)
    chain = _chain(fullchain, key)
    bundle = Bundle(fullchain=chain, privkey=key.pem)
    try:
        leaf = x509.leaf(chain)
        if leaf.spki_sha256 != key.spki_sha256:
            _refuse(fullchain, f"holds no certificate of the key in {privkey.name}")
        names = _names(fullchain, chain, leaf)
        if chain.count(b"-----BEGIN") == 1:
            _check_alone(fullchain, chain)
        x509.check(bundle, tuple(leaf.names), now, key, roots=None)
        readable.inspect(chain, key.pem)
    except (BundleMismatch, ValueError) as error:
        _refuse(fullchain, f"cannot be used: {error}")
    assert key.key_type is not None
    return Brought(bundle=bundle, leaf=leaf, names=names, key_type=key.key_type)


def _key(file: File) -> x509.CertKey:
    found = _KEY.findall(file.text)
    if not found:
        _refuse(file, _otherwise(file, "no private key in PEM"))
    if len(found) > 1:
        _refuse(file, "holds more than one private key")
    ((label, body),) = found
    if label.startswith(b"ENCRYPTED") or b"ENCRYPTED" in body:
        _refuse(file, f"holds an encrypted key: {_openssl('pkey', file)} decrypts it, and asks for its passphrase")
    if label.startswith(b"OPENSSH"):
        _refuse(file, "holds a key of OpenSSH, which is none for certificates")
    try:
        loaded = serialization.load_der_private_key(b64decode(b"".join(body.split())), password=None)
        pem = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        key = x509.CertKey.of(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm, BundleMismatch):
        # What is wrong with a key is not told further: it may be quoted.
        raise Misconfigured(f"{file.name}: the private key cannot be read, or is neither EC nor RSA") from None
    if key.key_type is None:
        _refuse(file, "holds a key of another kind than EC P-256 and P-384, or RSA with 2048, 3072 or 4096 bits")
    return key


def _chain(file: File, key: x509.CertKey) -> bytes:
    try:
        return ordered(file.text, key.spki_sha256)
    except NoCertificates:
        _refuse(file, _otherwise(file, "no certificate in PEM that can be read"))
    except BundleMismatch as error:
        _refuse(file, f"cannot be used: {error}")


def _check_alone(file: File, chain: bytes) -> None:
    """Clients have the root alone: what is between it and the leaf, a server has to send."""
    leaf = certificates.load_pem_x509_certificate(chain)
    if not issued_by(leaf, leaf):
        signer = leaf.issuer.rfc4514_string()[:200]
        _refuse(
            file,
            f"lacks the certificate of the leaf's issuer ({signer!r}): append it, and those above it but the root; "
            "where a root has issued the leaf itself, append that root",
        )


def _names(file: File, chain: bytes, leaf: Leaf) -> tuple[str, ...]:
    """The first one is the primary name."""
    first = certificates.load_pem_x509_certificate(chain)
    try:
        found = first.extensions.get_extension_for_class(certificates.SubjectAlternativeName).value
    except certificates.ExtensionNotFound:
        _refuse(file, "names its host in the subject alone, where no client looks any more (no subjectAltName)")
    names = found.get_values_for_type(certificates.DNSName)
    if others := sorted(leaf.names - {name.lower() for name in names}):
        _refuse(file, f"is for more than DNS names ({', '.join(others)[:200]}), and knit knows no others")
    normal = normalise(names)
    if frozenset(normal) != leaf.names:
        _refuse(file, "has names that are not in the form of the DNS")
    return normal


def _otherwise(file: File, lacks: str) -> str:
    """What a file is that has not what it should."""
    data, text = file.data, file.text
    if b"-----BEGIN PKCS7-----" in text:
        return f"is PKCS#7: {_openssl('pkcs7 -print_certs', file)} makes PEM of it"
    if not data.startswith(b"\x30"):
        return f"holds {lacks}"
    head = _contents(data)
    if head.startswith(b"\x02\x01\x03"):
        made = quote(f"{file.name}.pem")
        return f"is PKCS#12: `openssl pkcs12 -nodes -in {quote(file.name)} -out {made}` makes PEM of it, chain and key"
    if head.startswith(_PKCS7_OID):
        return f"is PKCS#7: {_openssl('pkcs7 -inform der -print_certs', file)} makes PEM of it"
    kind = "pkey" if head.startswith(b"\x02") else "x509"
    return f"is DER: {_openssl(f'{kind} -inform der', file)} makes PEM of it"


def _contents(der: bytes) -> bytes:
    """What the outermost SEQUENCE begins with (X.690 section 8.1.3)."""
    length = der[1] if len(der) > 1 else 0
    return der[2 + (length & 0x7F if length > 0x80 else 0) :][:16]


def _openssl(what: str, file: File) -> str:
    return f"`openssl {what} -in {quote(file.name)} -out {quote(f'{file.name}.pem')}`"


def _refuse(file: File, why: str) -> NoReturn:
    raise Misconfigured(f"{file.name}: {why}")
