"""Asks a server in its own protocol to begin TLS."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from knit.core.model.places import StartTls
from knit.node.wire import Wire, said

_MYSQL_ERROR = 0xFF
_MYSQL_TLS = 0x0800
_MYSQL_CAPABILITIES = 0x0200 | _MYSQL_TLS | 0x8000
"""CLIENT_PROTOCOL_41, CLIENT_SSL and CLIENT_SECURE_CONNECTION."""

_UTF8MB4 = 45
_LDAP_MESSAGE, _LDAP_RESPONSE = 0x30, 0x78
_LDAP_REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"


def smtp(wire: Wire) -> None:
    """RFC 3207; it is for ports 25 and 587, for TLS begins at once on 465."""
    _smtp_reply(wire, b"220", "greets with")
    ours = f"IPv6:{wire.ours}" if ":" in wire.ours else wire.ours
    wire.send(f"EHLO [{ours}]\r\n".encode())
    if not any(line.upper().split() == [b"STARTTLS"] for line in _smtp_reply(wire, b"250", "answers EHLO with")):
        raise wire.fault("offers no STARTTLS")
    wire.send(b"STARTTLS\r\n")
    _smtp_reply(wire, b"220", "answers STARTTLS with")


def _smtp_reply(wire: Wire, code: bytes, how: str) -> list[bytes]:
    """The texts of a reply's lines (RFC 5321 section 4.2.1)."""
    texts: list[bytes] = []
    while True:
        line = wire.line()
        if line[:3] != code or line[3:4] not in {b"", b" ", b"-"}:
            raise wire.fault(f"{how}: {said(line)}")
        texts.append(line[4:])
        if line[3:4] != b"-":
            return texts


def imap(wire: Wire) -> None:
    """RFC 9051 section 6.2.1."""
    greeting = wire.line()
    if not greeting.upper().startswith(b"* OK"):
        raise wire.fault(f"greets with: {said(greeting)}")
    wire.send(b"k STARTTLS\r\n")
    while not (line := wire.line()).startswith(b"k "):
        if line.upper().startswith(b"* BYE") or not line.startswith(b"*"):
            raise wire.fault(f"answers STARTTLS with: {said(line)}")
    if not line.upper().startswith(b"K OK"):
        raise wire.fault(f"answers STARTTLS with: {said(line[2:])}")


def pop3(wire: Wire) -> None:
    """RFC 2595 section 4."""
    greeting = wire.line()
    if not greeting.startswith(b"+OK"):
        raise wire.fault(f"greets with: {said(greeting)}")
    wire.send(b"STLS\r\n")
    line = wire.line()
    if not line.startswith(b"+OK"):
        raise wire.fault(f"answers STLS with: {said(line)}")


def ldap(wire: Wire) -> None:
    """RFC 4511 section 4.14."""
    wire.send(_LDAP_REQUEST)
    try:
        tag, message = _element(wire)
        number, response = _elements(message)[:2]
        result = _elements(response[1])
    except (IndexError, ValueError):
        raise wire.fault("does not speak LDAP") from None
    if tag != _LDAP_MESSAGE or response[0] != _LDAP_RESPONSE or len(result) < 3:
        raise wire.fault("does not speak LDAP")
    if number[1] != b"\x01" or result[0][1] != b"\x00":
        code = int.from_bytes(result[0][1][:4], "big")
        raise wire.fault(f"answers StartTLS with result {code}: {said(result[2][1])}")


def _element(wire: Wire) -> tuple[int, bytes]:
    """The next BER element, of a definite length below 64 KiB."""
    tag, length = wire.exactly(2)
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 2:
            raise ValueError
        length = int.from_bytes(wire.exactly(size), "big")
    return tag, wire.exactly(length)


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """The BER elements that these bytes consist of."""
    found: list[tuple[int, bytes]] = []
    while data:
        size = data[1] & 0x7F if data[1] & 0x80 else 0
        length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1]
        if len(data) < 2 + size + length:
            raise ValueError
        found.append((data[0], data[2 + size : 2 + size + length]))
        data = data[2 + size + length :]
    return found


def postgres(wire: Wire) -> None:
    """SSLRequest, of PostgreSQL's frontend/backend protocol."""
    wire.send(struct.pack("!ii", 8, 80877103))
    answer = wire.exactly(1)
    if answer == b"N":
        raise wire.fault("offers no TLS")
    if answer != b"S":
        raise wire.fault("does not speak PostgreSQL's protocol, or refuses the connection")


def mysql(wire: Wire) -> None:
    """The server's first packet, and SSLRequest, of MySQL's client/server protocol, version 10."""
    length = int.from_bytes(wire.exactly(4)[:3], "little")
    if length > 1024:
        raise wire.fault("does not speak MySQL's protocol")
    packet = wire.exactly(length)
    if packet[:1] == bytes([_MYSQL_ERROR]):
        raise wire.fault(f"answers with: {said(packet[3:])}")
    try:
        # After the version: the thread's number, eight bytes of a challenge, and one that is zero.
        at = packet.index(b"\0") + 1 + 4 + 8 + 1
        (capabilities,) = struct.unpack_from("<H", packet, at)
    except (ValueError, struct.error):
        raise wire.fault("does not speak MySQL's protocol") from None
    if packet[0] != 10:
        raise wire.fault("does not speak MySQL's protocol")
    if not capabilities & _MYSQL_TLS:
        raise wire.fault("offers no TLS")
    request = struct.pack("<IIB23x", _MYSQL_CAPABILITIES, 1 << 24, _UTF8MB4)
    wire.send(len(request).to_bytes(3, "little") + b"\x01" + request)


ASK: Final[Mapping[StartTls, Callable[[Wire], None]]] = {
    StartTls.SMTP: smtp,
    StartTls.IMAP: imap,
    StartTls.POP3: pop3,
    StartTls.LDAP: ldap,
    StartTls.POSTGRES: postgres,
    StartTls.MYSQL: mysql,
}

FAREWELLS: Final[Mapping[StartTls, bytes]] = {
    StartTls.SMTP: b"QUIT\r\n",
    StartTls.IMAP: b"k LOGOUT\r\n",
    StartTls.POP3: b"QUIT\r\n",
    StartTls.LDAP: b"\x30\x05\x02\x01\x02\x42\x00",
}
"""What ends a session, so that servers do not log it as one that was lost."""


def begin(wire: Wire, protocol: StartTls) -> None:
    """Bring the connection to where TLS begins. Raises Transient."""
    if protocol is not StartTls.NONE:
        ASK[protocol](wire)
        wire.expect_silence()
