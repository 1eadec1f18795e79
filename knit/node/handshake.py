"""One TLS handshake, of which only the server's leaf is wanted."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from knit.core.model.places import StartTls
from knit.errors import Transient
from knit.node.starttls import FAREWELLS, begin
from knit.node.wire import Wire
from knit.ports.probing import KeyKind

_NO_TLS = {
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
    "UNKNOWN_PROTOCOL",
    "WRONG_SSL_VERSION",
    "WRONG_VERSION_NUMBER",
}

_ALERT = re.compile("(SSLV3|TLSV1|TLSV13)_(ALERT_)?")


def shown(host: str, port: int, protocol: StartTls, server_name: str | None, seconds: float) -> dict[str, str | None]:
    """What the server's leaf says of itself. Raises Transient, before so many seconds have passed."""
    wire = Wire(host, port, seconds=seconds)
    try:
        begin(wire, protocol)
        return {"address": wire.address} | _told(_leaf(wire, server_name, FAREWELLS.get(protocol, b"")), wire)
    finally:
        wire.close()


def _context() -> ssl.SSLContext:
    """Whatever a server can do is taken: this looks at a certificate, and neither trusts nor tells anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:!aNULL:!aPSK:@SECLEVEL=0")
    return context


def _leaf(wire: Wire, server_name: str | None, farewell: bytes) -> bytes:
    """The leaf's DER."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        # Through memory: a socket's own handshake has no deadline, only one for each of its reads.
        tls = _context().wrap_bio(incoming, outgoing, server_hostname=server_name)
    except ValueError:
        raise wire.fault(f"cannot be asked for {server_name}: that is no server name") from None
    while not _done(tls, wire):
        wire.send(outgoing.read())
        incoming.write(wire.receive())
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        raise wire.fault("shows no certificate")
    with suppress(ssl.SSLError):
        tls.write(farewell)
        tls.unwrap()
    with suppress(Transient):
        wire.send(outgoing.read())
    return leaf


def _done(tls: ssl.SSLObject, wire: Wire) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError as error:
        raise wire.fault(_why(error.reason or "broken off")) from None
    return True


def _why(reason: str) -> str:
    """OpenSSL names an alert with the version of TLS that had it first, which says nothing of this server."""
    if reason in _NO_TLS:
        return "does not speak TLS"
    return f"ends the TLS handshake: {_ALERT.sub('', reason).lower().replace('_', ' ')}"


def _told(leaf: bytes, wire: Wire) -> dict[str, str | None]:
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        return {
            "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "key_kind": _kind(certificate),
        }
    except ValueError:
        raise wire.fault("shows a certificate that cannot be parsed") from None


def _kind(certificate: x509.Certificate) -> KeyKind | None:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return KeyKind.RSA
    return KeyKind.EC if isinstance(key, ec.EllipticCurvePublicKey) else None
