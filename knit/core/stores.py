"""Key stores: a pair, encrypted with a password, as programs in Java and on Windows read it.

PKCS #12 (RFC 7292) is made by the library; JKS, the format of Java before 9, is small and made here: no library that is
looked after makes it. JKS protects a key with a keyed stream of SHA-1, which keeps nobody out for long: its file's mode
does. In both there is one entry, with the key and the whole chain, leaf first.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12PrivateKeyTypes

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content
from knit.core.outputs import Seal

ROUNDS = 10_000
"""Of PBKDF2: what `keytool` uses. A password that can be guessed is no protection with any number of them."""

_KINDS = (
    rsa.RSAPrivateKey,
    dsa.DSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
_MAGIC, _VERSION, _KEY_ENTRY = 0xFEEDFEED, 2, 1
_WHITENER = b"Mighty Aphrodite"
_SALT = 20
_PROTECTED = bytes.fromhex("300e060a2b060104012a021101010500")
"""AlgorithmIdentifier of JKS's own key protection, 1.3.6.1.4.1.42.2.17.1.1 with NULL."""


def made(bundle: Bundle, seal: Seal) -> bytes:
    """The key store with this pair, which was found to be one. Raises ValueError where that cannot be."""
    key = serialization.load_pem_private_key(bundle.privkey, password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, _KINDS):
        message = "no key store holds a key of this kind"
        raise ValueError(message)  # noqa: TRY004 -- it is what is published that is wrong
    chain = x509.load_pem_x509_certificates(bundle.fullchain)
    store = _jks(key, chain, seal) if seal.content is Content.JKS else _pkcs12(key, chain, seal)
    if not opens(store, seal):
        message = "the key store that was made does not open"
        raise ValueError(message)
    return store


def opens(store: bytes, seal: Seal) -> bool:
    """Whether this is a key store of the seal's format, and its password the seal's."""
    if seal.content is Content.JKS:
        signed, digest = store[:-_SALT], store[-_SALT:]
        is_one = store[:8] == struct.pack(">II", _MAGIC, _VERSION)
        return is_one and hmac.compare_digest(digest, _checksum(signed, seal.password))
    try:
        return pkcs12.load_pkcs12(store, seal.password.encode()).key is not None
    except ValueError:
        return False


def _pkcs12(key: PKCS12PrivateKeyTypes, chain: list[x509.Certificate], seal: Seal) -> bytes:
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(seal.password.encode())
    )
    return pkcs12.serialize_key_and_certificates(seal.alias.encode(), key, chain[0], chain[1:], encryption)


def _jks(key: PKCS12PrivateKeyTypes, chain: list[x509.Certificate], seal: Seal) -> bytes:
    plain = key.private_bytes(serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.NoEncryption())
    since = int(chain[0].not_valid_before_utc.timestamp() * 1000)
    head = struct.pack(">III", _MAGIC, _VERSION, 1)
    entry = struct.pack(">I", _KEY_ENTRY) + _text(seal.alias) + struct.pack(">q", since)
    entry += _counted(_protected(plain, seal.password)) + struct.pack(">I", len(chain))
    for certificate in chain:
        entry += _text("X.509") + _counted(certificate.public_bytes(serialization.Encoding.DER))
    return head + entry + _checksum(head + entry, seal.password)


def _protected(plain: bytes, password: str) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5208 section 6). The salt follows from key and password."""
    secret = password.encode("utf-16-be")
    salt = hmac.digest(plain, secret, "sha256")[:_SALT]
    stream, link = b"", salt
    while len(stream) < len(plain):
        link = hashlib.sha1(secret + link).digest()  # noqa: S324 -- the format's
        stream += link
    hidden = bytes(one ^ other for one, other in zip(plain, stream, strict=False))
    check = hashlib.sha1(secret + plain).digest()  # noqa: S324 -- as above
    return _der(0x30, _PROTECTED + _der(0x04, salt + hidden + check))


def _checksum(signed: bytes, password: str) -> bytes:
    return hashlib.sha1(password.encode("utf-16-be") + _WHITENER + signed).digest()  # noqa: S324 -- the format's


def _der(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _counted(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw
