"""Any name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945) or not.

An update adds or deletes exactly one value, on the server and atomically, so nothing has to be locked here.
"""

from __future__ import annotations

import binascii
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import dns.entropy
import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.wire

from knit.core.model.challenge import Record
from knit.core.servers import host_and_port
from knit.errors import CredentialsRejected, Misconfigured, Refused, Unreachable
from knit.ports.process import Clock
from knit.ports.solving import Paced, Timing
from knit.providers.base import PAUSE, Provider, Runtime, Values, Variable, knobs

_PREFIXES = ("DNSUPDATE", "RFC2136")


def _variable(suffix: str, text: str, *, default: str | None = None, secret: bool = False) -> Variable:
    names = tuple(f"{prefix}_{suffix}" for prefix in _PREFIXES)
    return Variable(names=names, help=text, default=default, secret=secret)


_NAMESERVER = _variable("NAMESERVER", "the primary server, host or host:port")
_ALGORITHM = _variable("TSIG_ALGORITHM", "TSIG algorithm", default="hmac-sha1.")
_KEY = _variable("TSIG_KEY", "name of the TSIG key; without key or secret updates are not signed")
_SECRET = _variable("TSIG_SECRET", "TSIG secret, base64", secret=True)
_FILE = _variable("TSIG_FILE", "key file as written by tsig-keygen; instead of key, secret and algorithm")
_ZONES = _variable("ZONES", "zones to update, comma-separated; else the server is asked")
_TIMEOUT = _variable("DNS_TIMEOUT", "seconds one update may take", default="10")
_GSS = tuple(
    _variable(f"TSIG_GSS_{suffix}", "of GSS-TSIG, which knit does not serve", secret=suffix == "PASSWORD")
    for suffix in ("REALM", "USERNAME", "PASSWORD", "KEYTAB_FILE")
)
_PAUSE = _variable("SEQUENCE_INTERVAL", f"{PAUSE}; unset: all at once")
_PLAIN = knobs(*_PREFIXES, timeout=60, interval=2, ttl=120)
_WAIT = replace(_PLAIN.timeout, names=(*_PLAIN.timeout.names, *(f"{prefix}_TIMEOUT" for prefix in _PREFIXES)))
_KNOBS = replace(_PLAIN, timeout=_WAIT, pause=_PAUSE)
_RIGHTS = "the right to add and delete TXT records at this name in the server's update policy"

_KEY_FILE = re.compile(
    r'key\s+"?(?P<name>[^"\s{]+)"?\s*\{\s*'
    r'(?=[^}]*algorithm\s+"?(?P<algorithm>[^";\s]+)"?\s*;)'
    r'(?=[^}]*secret\s+"(?P<secret>[^"]+)"\s*;)'
)
_HEADER = 12
_ADDITIONAL = 10
"""Where the header counts the records of the additional section."""
_OPCODE = 11
_AUTHORITATIVE = 0x04
"""The bit AA, in the header's third byte."""
_FUDGE = 300
"""Seconds that the two clocks may differ (RFC 8945 section 10)."""
_NO_ERROR = struct.pack("!HH", 0, 0)
"""The TSIG error field, and the length of what might follow it."""
_LARGEST = 2 + 65535
_SENDINGS = 3
_ADDRESSES = 4
"""Of one server that are tried, each for as long as one update may take."""
_KEPT = 10_000
_BROKEN = (dns.exception.DNSException, OSError, EOFError, ValueError, struct.error)

Address = tuple[socket.AddressFamily, Any]
"""Family, and the socket address in that family's own form."""


class DnsUpdate(Paced):
    """Updates at one primary server (`server` as host or host:port), signed with `key` unless None."""

    def __init__(
        self, server: str, key: dns.tsig.Key | None, timing: Timing, clock: Clock, *, zones: tuple[str, ...] = ()
    ) -> None:
        super().__init__(timing)
        self._clock = clock
        self._server = server
        self._key = key
        self._zones = zones
        self._timeout = timing.http
        self._by_udp: set[Address] = set()
        self._told: dict[str, str] = {}

    def present(self, record: Record) -> None:
        """Add the value; the server ignores one that is there (RFC 2136 section 3.4.2.2)."""
        self._send(record, dns.rdataclass.IN, self.ttl)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Delete the value; the server ignores one that is not there (RFC 2136 section 3.4.2.4)."""
        self._send(record, dns.rdataclass.NONE, 0)

    def _send(self, record: Record, rdclass: dns.rdataclass.RdataClass, ttl: int) -> None:
        zone = self._zone(record)
        update, mac = message(zone, record, rdclass, ttl), b""
        if self._key is not None:
            update, mac = signed(update, self._key, self._clock())
        rcode = self._exchange(update, mac)
        if rcode != dns.rcode.NOERROR:
            self._told.clear()
            raise self._refusal(rcode, record, zone)

    def _exchange(self, update: bytes, mac: bytes) -> dns.rcode.Rcode:
        """Send it by TCP; gives the answer's rcode. Only a refusal may come unsigned (RFC 8945 section 5.2)."""
        try:
            answer = self._talk(update)
            rcode = dns.rcode.Rcode.make(answer[3] & 0xF)
            if self._key is not None and (rcode == dns.rcode.NOERROR or _is_signed(answer)):
                verify(answer, self._key, mac, self._clock())
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.BadKey) as e:
            raise CredentialsRejected(f"dnsupdate: {self._server}: {_signature(e)}") from None
        except _BROKEN as e:
            raise self._unreachable(e) from None
        return rcode

    def _unreachable(self, e: Exception) -> Unreachable:
        why = "no answer in time" if isinstance(e, dns.exception.Timeout | TimeoutError) else _plain(e)
        return Unreachable(f"dnsupdate: {self._server}: {why}")

    def _talk(self, sent: bytes) -> bytes:
        """Bytes out, bytes in, with the first of the server's addresses that answers; ValueError for another question.

        An update that arrives twice, at two of them perhaps, changes nothing more.
        """
        *others, last = socket.getaddrinfo(*host_and_port(self._server), type=socket.SOCK_STREAM)[:_ADDRESSES]
        for each in others:
            with suppress(OSError, ValueError):
                return self._asked_at((each[0], each[4]), sent)
        return self._asked_at((last[0], last[4]), sent)

    def _asked_at(self, address: Address, sent: bytes) -> bytes:
        """By TCP, or by UDP (lego's way) where the server or what stands before it takes no TCP connections."""
        answer = None if address in self._by_udp else self._tcp(address, sent)
        if answer is None:
            self._by_udp.discard(address)
            answer = self._udp(address, sent)
            self._by_udp.add(address)
        if len(answer) < _HEADER or answer[:2] != sent[:2]:
            raise ValueError
        return answer

    def _tcp(self, address: Address, sent: bytes) -> bytes | None:
        """The answer, or None when no connection was made."""
        family, place = address
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(place)
            except OSError:
                return None
            connection.sendall(struct.pack("!H", len(sent)) + sent)
            return _answer(connection)

    def _udp(self, address: Address, sent: bytes) -> bytes:
        """The answer. Sent more than once, for it may be lost."""
        family, place = address
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            connection.connect(place)
            connection.settimeout(self._timeout / _SENDINGS)
            for _ in range(_SENDINGS):
                connection.send(sent)
                with suppress(TimeoutError):
                    return connection.recv(_LARGEST)
        raise TimeoutError

    def _zone(self, record: Record) -> str:
        fitting = [zone for zone in self._zones if record.fqdn == zone or record.fqdn.endswith(f".{zone}")]
        return max(fitting, key=len, default="") or self._told.get(record.fqdn) or self._asked(record) or record.zone

    def _asked(self, record: Record) -> str | None:
        """The server's own zone for the name, which the public DNS may not show; None when it does not say."""
        try:
            answer = self._talk(question(record.fqdn))
            owners = [each.owner for each in _records(answer) if each.rdtype == dns.rdatatype.SOA]
        except OSError as e:
            raise self._unreachable(e) from None
        except _BROKEN:
            return None
        wanted = dns.name.from_text(record.fqdn)
        fitting = [owner for owner in owners if wanted.is_subdomain(owner) and answer[2] & _AUTHORITATIVE]
        if not fitting:
            return None
        # A server whose zones are cut anew refuses the next update, and is asked again then.
        if len(self._told) >= _KEPT:
            self._told.clear()
        self._told[record.fqdn] = fitting[0].to_text(omit_final_dot=True).lower()
        return self._told[record.fqdn]

    def _refusal(self, rcode: dns.rcode.Rcode, record: Record, zone: str) -> Exception:
        said = f"dnsupdate: {self._server} answers {dns.rcode.to_text(rcode)} to the update of {record.fqdn}"
        if rcode == dns.rcode.NOTAUTH:
            reason = f"it is not the primary server of {zone}, or it does not know {self._who()}"
            return CredentialsRejected(f"{said}: {reason}; it needs {_RIGHTS}")
        if rcode == dns.rcode.REFUSED:
            return CredentialsRejected(f"{said}: its policy does not let {self._who()} do this; it needs {_RIGHTS}")
        if rcode == dns.rcode.SERVFAIL:
            return Unreachable(said)
        return Refused(f"{said} in zone {zone}")

    def _who(self) -> str:
        return "the TSIG key" if self._key else "unsigned updates (set DNSUPDATE_TSIG_KEY and DNSUPDATE_TSIG_SECRET)"


def message(zone: str, record: Record, rdclass: dns.rdataclass.RdataClass, ttl: int) -> bytes:
    """An update of one value (RFC 2136 section 2): class IN adds it, NONE deletes it (sections 2.5.1 and 2.5.4).

    Put together here, because two of them through the library's objects are a tenth of all that a worker does for a
    certificate; the tests hold each against what the library reads in it. Values have up to 255 bytes.
    """
    head = struct.pack("!HHHHHH", dns.entropy.random_16(), dns.opcode.UPDATE << _OPCODE, 1, 0, 1, 0)
    soa = struct.pack("!HH", dns.rdatatype.SOA, dns.rdataclass.IN)
    value = record.value.encode()
    text = struct.pack("!B", len(value)) + value
    change = struct.pack("!HHIH", dns.rdatatype.TXT, rdclass, ttl, len(text)) + text
    return head + _name(zone) + soa + _name(record.fqdn) + change


def question(name: str) -> bytes:
    """Whose SOA record is nearest to this name, asked of the server's own zones only."""
    head = struct.pack("!HHHHHH", dns.entropy.random_16(), 0, 1, 0, 0, 0)
    return head + _name(name) + struct.pack("!HH", dns.rdatatype.SOA, dns.rdataclass.IN)


def signed(update: bytes, key: dns.tsig.Key, now: datetime) -> tuple[bytes, bytes]:
    """The message with its TSIG record (RFC 8945 section 4.2), and the MAC that its answer's builds on."""
    owner, algorithm = key.name.to_digestable(), key.algorithm.to_digestable()
    rdclass, seconds = dns.rdataclass.ANY, int(now.timestamp())
    at = struct.pack("!HIH", seconds >> 32, seconds & 0xFFFFFFFF, _FUDGE)
    context = dns.tsig.get_context(key)  # type: ignore[no-untyped-call]
    context.update(update + owner + struct.pack("!HI", rdclass, 0) + algorithm + at + _NO_ERROR)
    mac: bytes = context.sign()
    data = algorithm + at + struct.pack("!H", len(mac)) + mac + update[:2] + _NO_ERROR
    last = owner + struct.pack("!HHIH", dns.rdatatype.TSIG, rdclass, 0, len(data)) + data
    return update[:_ADDITIONAL] + struct.pack("!H", 1) + update[_HEADER:] + last, mac


def verify(answer: bytes, key: dns.tsig.Key, mac: bytes, now: datetime) -> None:
    """Raise dns.tsig's exceptions unless the answer to the request with this MAC ends with a TSIG record that fits."""
    found = [*_records(answer)]
    if not found or found[-1].rdtype != dns.rdatatype.TSIG:
        raise dns.exception.FormError
    last = found[-1]
    parser = dns.wire.Parser(answer, last.data)
    with parser.restrict_to(last.size):
        tsig = dns.rdata.from_wire_parser(dns.rdataclass.ANY, dns.rdatatype.TSIG, parser)
    dns.tsig.validate(answer, key, last.owner, tsig, int(now.timestamp()), mac, last.start)  # type: ignore[no-untyped-call]


class _Read(NamedTuple):
    """A record of an answer: where it starts, whose it is, and where its data are, so many bytes."""

    start: int
    owner: dns.name.Name
    rdtype: int
    data: int
    size: int


def _records(answer: bytes) -> Iterator[_Read]:
    """Those behind the question (RFC 1035 section 4.1), their data unread: to read it all takes three times as long.

    Raises dns.exception.DNSException for what is no message.
    """
    parser = dns.wire.Parser(answer, 4)
    questions, *others = parser.get_struct("!HHHH")
    for _ in range(questions):
        parser.get_name(decompress=True)
        parser.get_struct("!HH")
    for _ in range(sum(others)):
        start, owner = parser.current, parser.get_name(decompress=True)
        rdtype, _, _, size = parser.get_struct("!HHIH")
        yield _Read(start, owner, rdtype, parser.current, size)
        parser.get_bytes(size)
    if parser.remaining():
        raise dns.message.TrailingJunk


def _name(text: str) -> bytes:
    return dns.name.from_text(text).to_wire() or b""


def _answer(connection: socket.socket) -> bytes:
    """One message behind its length (RFC 1035 section 4.2.2), or less when the other side closes."""
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
        more = connection.recv(_LARGEST)
        if not more:
            break
        data += more
    return data[2 : 2 + int.from_bytes(data[:2])]


def _is_signed(answer: bytes) -> bool:
    """Whether the additional section holds anything: in answers to updates that is the TSIG record."""
    return struct.unpack("!H", answer[10:12]) != (0,)


def _signature(e: dns.exception.DNSException) -> str:
    reasons: dict[type[dns.exception.DNSException], str] = {
        dns.tsig.PeerBadSignature: "it does not accept the signature: wrong TSIG secret or algorithm",
        dns.tsig.PeerBadKey: "it does not know the TSIG key: wrong key name or algorithm",
        dns.tsig.PeerBadTime: "its clock and ours are too far apart for TSIG",
        dns.tsig.BadTime: "its clock and ours are too far apart for TSIG",
    }
    return reasons.get(type(e), f"its answer's TSIG does not verify ({type(e).__name__})")


def _plain(e: Exception) -> str:
    if isinstance(e, OSError):
        return e.strerror or "network error"
    return "a broken answer"


def _key(values: Values) -> dns.tsig.Key | None:
    path = values.get(_FILE)
    name, secret, algorithm = values.get(_KEY), values.get(_SECRET), values.text(_ALGORITHM)
    if path is not None:
        name, secret, algorithm = _key_file(path)
    if name is None or secret is None:
        return None
    algorithm = algorithm.lower().rstrip(".")
    if algorithm not in {str(known).rstrip(".").lower() for known in dns.tsig.mac_sizes} - {"gss-tsig"}:
        raise Misconfigured(
            f"{_ALGORITHM.name}: {algorithm!r} is no TSIG algorithm that knit serves, such as hmac-sha256"
        )
    try:
        return dns.tsig.Key(dns.name.from_text(name), secret, dns.name.from_text(algorithm))
    except (binascii.Error, ValueError, dns.exception.DNSException):
        raise Misconfigured(f"{_SECRET.name} is not base64, or {_KEY.name} is no name") from None


def _key_file(path: str) -> tuple[str, str, str]:
    try:
        found = _KEY_FILE.search(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{_FILE.name}: cannot read {path}") from None
    if found is None:
        raise Misconfigured(f"{_FILE.name}: {path} holds no key clause as tsig-keygen writes it")
    return found["name"], found["secret"], found["algorithm"]


def _build(values: Values, runtime: Runtime) -> DnsUpdate:
    set_names = values.set_names(_GSS)
    if set_names or values.text(_ALGORITHM).lower().rstrip(".") == "gss-tsig":
        raise Misconfigured(f"{(*set_names, _ALGORITHM.name)[0]}: GSS-TSIG is not served; use a TSIG key")
    timing = replace(_KNOBS.timing(values), http=values.seconds(_TIMEOUT, zero=2.0))
    zones = tuple(zone.strip().rstrip(".").lower() for zone in (values.get(_ZONES) or "").split(",") if zone.strip())
    return DnsUpdate(values.text(_NAMESERVER), _key(values), timing, runtime.clock, zones=zones)


PROVIDER = Provider(
    code="dnsupdate",
    aliases=("rfc2136",),
    title="DNS Update (RFC 2136)",
    url="https://www.rfc-editor.org/rfc/rfc2136",
    required=((_NAMESERVER,),),
    variables=(_KEY, _SECRET, _ALGORITHM, _FILE, _ZONES, _TIMEOUT, *_GSS),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="GSS-TSIG is not served. lego proves names one after the other, 60 s apart; knit does so only when "
    "DNSUPDATE_SEQUENCE_INTERVAL is set, for an update adds and deletes one value and leaves all others alone.",
)
