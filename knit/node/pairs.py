"""Looks into certificates and keys: a short-lived process of its own, `python -m knit.node.pairs`.

A node looks into a pair a few times a year, and the library that can do it takes 10 MiB. One JSON line in with
fullchain and privkey, one line out with the facts or the reason why it is no pair.
"""

from __future__ import annotations

import json
import re
import signal
import sys

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

MAX_CERTIFICATES = 16
SECONDS = 20

_BODY = rb"[ \t]*\r?\n(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+"
_BLOCK = rb"\s*-----BEGIN %(label)s-----" + _BODY + rb"-----END %(label)s-----\s*"
_CERTIFICATE = re.compile(_BLOCK % {b"label": rb"CERTIFICATE"})
_KEYS = tuple(
    re.compile(_BLOCK % {b"label": label}) for label in (rb"PRIVATE KEY", rb"EC PRIVATE KEY", rb"RSA PRIVATE KEY")
)


def inspect(fullchain: bytes, privkey: bytes) -> dict[str, object]:
    """The facts of a pair. Raises ValueError saying why it is none; the text holds nothing of the key."""
    chain = _certificates(fullchain)
    _check_key(chain[0], privkey)
    leaf = chain[0]
    return {
        "names": _names(leaf),
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "self_issued": leaf.issuer == leaf.subject and len(chain) == 1,
    }


def _certificates(fullchain: bytes) -> list[x509.Certificate]:
    blocks: list[bytes] = []
    position = 0
    while position < len(fullchain):
        block = _CERTIFICATE.match(fullchain, position)
        if block is None or len(blocks) == MAX_CERTIFICATES:
            raise ValueError(f"fullchain holds something else than 1 to {MAX_CERTIFICATES} PEM certificates")
        blocks.append(block.group())
        position = block.end()
    if not blocks:
        raise ValueError("fullchain is empty")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a certificate in fullchain cannot be parsed") from None


def _check_key(leaf: x509.Certificate, privkey: bytes) -> None:
    if not any(pattern.fullmatch(privkey) for pattern in _KEYS):
        raise ValueError("privkey holds something else than one PEM private key")
    try:
        key = serialization.load_pem_private_key(privkey, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("privkey cannot be parsed") from None
    try:
        matches = key.public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the certificate's key cannot be parsed") from None
    if not matches:
        raise ValueError("privkey is not the key of the certificate")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return sorted(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _answer(line: bytes) -> dict[str, object]:
    question = json.loads(line)
    try:
        return inspect(question["fullchain"].encode("latin-1"), question["privkey"].encode("latin-1"))
    except ValueError as error:
        return {"error": str(error)}


def main() -> None:
    """Answer until the questions end; a question that takes too long ends the process."""
    for line in sys.stdin.buffer:
        signal.alarm(SECONDS)
        sys.stdout.buffer.write(json.dumps(_answer(line)).encode() + b"\n")
        sys.stdout.buffer.flush()
        signal.alarm(0)


if __name__ == "__main__":
    main()
