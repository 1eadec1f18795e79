"""Any name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945) or not.

An update adds or deletes exactly one value, on the server and atomically, so nothing has to be locked here.
"""

from __future__ import annotations

import binascii
import re
import socket
import struct
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dns.entropy
import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring

from knit.core.model import Record
from knit.errors import CredentialsRejected, Misconfigured, Refused, Unreachable
from knit.ports import Clock
from knit.solvers.base import PAUSE, Paced, Provider, Runtime, Timing, Values, Variable, knobs
from knit.solvers.dnsquery import resolved

_PREFIXES = ("DNSUPDATE", "RFC2136")


def _variable(suffix: str, text: str, *, default: str | None = None, secret: bool = False) -> Variable:
    names = tuple(f"{prefix}_{suffix}" for prefix in _PREFIXES)
    return Variable(names=names, help=text, default=default, secret=secret)


_NAMESERVER = _variable("NAMESERVER", "the primary server, host or host:port")
_ALGORITHM = _variable("TSIG_ALGORITHM", "TSIG algorithm", default="hmac-sha1.")
_KEY = _variable("TSIG_KEY", "name of the TSIG key; without key or secret updates are not signed")
_SECRET = _variable("TSIG_SECRET", "TSIG secret, base64", secret=True)
_FILE = _variable("TSIG_FILE", "key file as written by tsig-keygen; instead of key, secret and algorithm")
_ZONES = _variable("ZONES", "zones to update, comma-separated; else the zone is found in the DNS")
_TIMEOUT = _variable("DNS_TIMEOUT", "seconds one update may take", default="8")
_GSS = _variable("TSIG_GSS_REALM", "Kerberos realm; GSS-TSIG is not served by knit")
_PAUSE = _variable("SEQUENCE_INTERVAL", f"{PAUSE}; unset: all at once")
_KNOBS = replace(knobs(*_PREFIXES, timeout=60, interval=2, ttl=120), pause=_PAUSE)
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
_FUDGE = 300
"""Seconds that the two clocks may differ (RFC 8945 section 10)."""
_NO_ERROR = struct.pack("!HH", 0, 0)
"""The TSIG error field, and the length of what might follow it."""
_LARGEST = 2 + 65535
_BROKEN = (dns.exception.DNSException, OSError, EOFError, ValueError, struct.error)


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
            raise self._refusal(rcode, record, zone)

    def _exchange(self, update: bytes, mac: bytes) -> dns.rcode.Rcode:
        """Send it by TCP; gives the answer's rcode. Only a refusal may come unsigned (RFC 8945 section 5.2)."""
        try:
            answer = self._talk(update)
            if answer[3] & 0xF and not _is_signed(answer):
                return dns.rcode.Rcode.make(answer[3] & 0xF)
            return dns.message.from_wire(answer, keyring=self._key, request_mac=mac).rcode()
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.BadKey) as e:
            raise CredentialsRejected(f"dnsupdate: {self._server}: {_signature(e)}") from None
        except _BROKEN as e:
            why = "no answer in time" if isinstance(e, dns.exception.Timeout | TimeoutError) else _plain(e)
            raise Unreachable(f"dnsupdate: {self._server}: {why}") from None

    def _talk(self, update: bytes) -> bytes:
        """Bytes out, bytes in; ValueError when it answers another question."""
        where = resolved(self._server)
        with socket.create_connection((where.host, where.port), self._timeout) as connection:
            connection.settimeout(self._timeout)
            connection.sendall(struct.pack("!H", len(update)) + update)
            answer = _answer(connection)
        if len(answer) < _HEADER or answer[:2] != update[:2]:
            raise ValueError
        return answer

    def _zone(self, record: Record) -> str:
        fitting = [zone for zone in self._zones if record.fqdn == zone or record.fqdn.endswith(f".{zone}")]
        return max(fitting, key=len, default=record.zone)

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
    if values.get(_GSS) is not None:
        raise Misconfigured(f"{_GSS.name}: GSS-TSIG is not served; use a TSIG key")
    timing = replace(_KNOBS.timing(values), http=values.seconds(_TIMEOUT))
    zones = tuple(zone.strip().rstrip(".").lower() for zone in (values.get(_ZONES) or "").split(",") if zone.strip())
    return DnsUpdate(values.text(_NAMESERVER), _key(values), timing, runtime.clock, zones=zones)


PROVIDER = Provider(
    code="dnsupdate",
    aliases=("rfc2136",),
    title="DNS Update (RFC 2136)",
    url="https://www.rfc-editor.org/rfc/rfc2136",
    required=((_NAMESERVER,),),
    variables=(_KEY, _SECRET, _ALGORITHM, _FILE, _ZONES, _TIMEOUT, _GSS),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="GSS-TSIG is not served. lego proves names one after the other, 60 s apart; knit does so only when "
    "DNSUPDATE_SEQUENCE_INTERVAL is set, for an update adds and deletes one value and leaves all others alone.",
)
