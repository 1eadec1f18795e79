"""One DNS question to one address, and to several in turn. Hostile or broken answers end as `NoReply`, in words."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import dns.entropy
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from knit.core.servers import Address, host_and_port

SILENT = "no answer in time"

_TRY = 2.0
_AGAIN = (0.2, 0.6)
_ABREAST = 8
_PAYLOAD = 1232
_LARGEST = 65535
_HEADER = 12
_ADDITIONAL = 10
_OPT = 11
_RESPONSE = 0x80
_CUT_SHORT = 0x02
_LONGEST_CONF = 1 << 20
_LAST_RESORT = ("1.1.1.1", "1.0.0.1")

_OF_RESOLVERS = {
    dns.rcode.SERVFAIL: "a broken DNSSEC chain, or a dead name server",
    dns.rcode.REFUSED: "it does not serve this machine",
}
_OF_AUTHORITIES = {
    dns.rcode.SERVFAIL: "its copy of the zone is broken or has expired",
    dns.rcode.REFUSED: "it does not hold this zone",
}

_WITHOUT_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.SERVFAIL}
_BROKEN = (dns.exception.DNSException, OSError, EOFError, ValueError, struct.error)


T = TypeVar("T")
R = TypeVar("R")


class NoReply(Exception):
    """No usable answer came. The text says why in a few words; it never leaves knit.providers."""


class ErrorReply(NoReply):
    """Every server that was asked has answered, with an error code."""


class NoRoute(NoReply):
    """This machine has no route to that address: nothing was sent."""


def resolved(text: str) -> tuple[Address, ...]:
    """As `Address.parse`, but the host may be a name, looked up by the system: all that it has.

    OSError when it has no address.
    """
    host, port = host_and_port(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except UnicodeError:
        # An empty label, or one that is too long, is no system call's error.
        raise OSError(errno.EINVAL, "not a host name") from None
    return tuple(dict.fromkeys(Address(str(each[4][0]), port) for each in found))


def system_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[Address, ...]:
    """The resolvers that this file names, or Cloudflare's where it names none (as lego does).

    A line that is no address is passed over, as the C library does: a good one may follow.
    """
    try:
        with path.open("rb") as file:
            words = [line.split() for line in file.read(_LONGEST_CONF).decode("utf-8", "replace").splitlines()]
    except OSError:
        words = []
    named = [said[1] for said in words if len(said) > 1 and said[0] == "nameserver"]
    return tuple(dict.fromkeys(filter(None, map(_nameserver, named)))) or tuple(map(Address, _LAST_RESORT))


def _nameserver(text: str) -> Address | None:
    try:
        return Address(str(ipaddress.ip_address(text)))
    except ValueError:
        return None


def ask(name: str, kind: str, where: Address, *, recurse: bool, timeout: float) -> dns.message.Message:
    """Ask by UDP, again by TCP when the answer was cut short. `timeout` (seconds) holds for each of the two.

    Raises NoReply; the answer's rcode is the caller's to look at.
    """
    return _exchange(_query(name, kind, dns.flags.RD if recurse else 0), where, timeout)


def ask_unchecked(name: str, kind: str, where: Address, timeout: float) -> dns.message.Message:
    """Ask a resolver for the answer it would hold back because DNSSEC does not vouch for it (RFC 4035 section 3.2.2).

    Raises NoReply.
    """
    return _exchange(_query(name, kind, dns.flags.RD | dns.flags.CD), where, timeout)


def ask_any(
    name: str,
    kind: str,
    servers: Sequence[Address],
    *,
    recurse: bool,
    timeout: float,
    pause: Callable[[float], None] = time.sleep,
) -> dns.message.Message:
    """The first answer (NOERROR or NXDOMAIN) of any of these servers, asked in turn for at most `timeout` seconds.

    Silent ones are asked every 2 s; where all of them say no, each is asked twice more, `pause`d between, because a
    SERVFAIL may pass. `pause` may raise, at a stop. Raises NoReply naming what each server did instead.
    """
    deadline = time.monotonic() + timeout
    failures: dict[Address, NoReply] = {}
    again = iter(_AGAIN)
    while True:
        for server in servers:
            left = deadline - time.monotonic()
            if left <= 0 and failures:
                raise _failed(failures)
            try:
                return _good(
                    ask(name, kind, server, recurse=recurse, timeout=max(0.05, min(_TRY, left))), recurse=recurse
                )
            except NoReply as e:
                failures[server] = e
        wait = 0.0 if SILENT in map(str, failures.values()) else next(again, None)
        if wait is None or not failures or time.monotonic() + wait >= deadline:
            raise _failed(failures)
        pause(wait)


def _good(answer: dns.message.Message, *, recurse: bool) -> dns.message.Message:
    if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        raise ErrorReply(refusal(answer, recurse=recurse))
    return answer


def _failed(failures: dict[Address, NoReply]) -> NoReply:
    kind = ErrorReply if failures and all(isinstance(e, ErrorReply) for e in failures.values()) else NoReply
    return kind(", ".join(f"{server}: {why}" for server, why in failures.items()) or "there is no server to ask")


def abreast(question: Callable[[T], R], subjects: Sequence[T], check: Callable[[], None]) -> Iterator[R]:
    """What `question` gives for each subject, in order, few at once; `check` is called before each few."""
    for start in range(0, len(subjects), _ABREAST):
        check()
        few = subjects[start : start + _ABREAST]
        if len(few) == 1:
            yield question(few[0])
            continue
        with ThreadPoolExecutor(len(few), thread_name_prefix="knit-dns") as pool:
            yield from pool.map(question, few)


def find(answer: dns.message.Message, name: str, kind: str) -> dns.rrset.RRset | None:
    """The record set of exactly this name and type in the answer section."""
    owner = dns.name.from_text(name)
    return next((rrset for rrset in of_type(answer.answer, kind) if rrset.name == owner), None)


def authority(answer: dns.message.Message, kind: str) -> dns.rrset.RRset | None:
    """The first record set of this type in the authority section."""
    return next(of_type(answer.authority, kind), None)


def of_type(section: Iterable[dns.rrset.RRset], kind: str) -> Iterator[dns.rrset.RRset]:
    """The record sets of this type. Another class than IN has other records under the same number."""
    rdtype = dns.rdatatype.from_text(kind)
    return (rrset for rrset in section if rrset.rdtype == rdtype and rrset.rdclass == dns.rdataclass.IN)


def text(name: dns.name.Name) -> str:
    """As knit writes names: lower case, no trailing dot."""
    return name.to_text(omit_final_dot=True).lower()


def txt_values(answer: dns.message.Message, name: str) -> frozenset[str]:
    """All TXT values at this name, their strings joined (RFC 8555 section 8.4)."""
    rrset = find(answer, name, "TXT")
    return frozenset(b"".join(rdata.strings).decode("utf-8", "replace") for rdata in rrset or ())


def is_within(name: str, zone: str) -> bool:
    """Whether the name is the zone's own or below it."""
    return not zone or name == zone or name.endswith(f".{zone}")


def refusal(answer: dns.message.Message, *, recurse: bool) -> str:
    """What an answer that is neither NOERROR nor NXDOMAIN says, and what it usually means."""
    said = dns.rcode.to_text(answer.rcode())
    meant = (_OF_RESOLVERS if recurse else _OF_AUTHORITIES).get(answer.rcode())
    return f"answers {said} ({meant})" if meant else f"answers {said}"


def _exchange(query: bytes, where: Address, timeout: float) -> dns.message.Message:
    """Ask, and again without EDNS where the server seems not to know it (RFC 6891 section 7)."""
    answer = _sent(query, where, timeout)
    if answer.rcode() == dns.rcode.BADVERS or (answer.rcode() in _WITHOUT_EDNS and answer.edns < 0):
        return _sent(query[:_ADDITIONAL] + b"\0\0" + query[_HEADER:-_OPT], where, timeout)
    return answer


def _sent(query: bytes, where: Address, timeout: float) -> dns.message.Message:
    try:
        answer = _by_udp(query, where, timeout)
        if not answer[2] & _CUT_SHORT:
            return dns.message.from_wire(answer)
    except _BROKEN as e:
        raise NoReply(_why(e)) from None
    try:
        return _by_tcp(query, where, timeout)
    except _BROKEN as e:
        raise NoReply(f"its answer does not fit into UDP, and by TCP: {_why(e)}") from None


def _query(name: str, kind: str, flags: int) -> bytes:
    """One question with EDNS (RFC 1035 section 4, RFC 6891), encoded here: a pass asks many thousand of them."""
    try:
        owner = dns.name.from_text(name).to_wire() or b""
    except dns.exception.DNSException as e:
        raise NoReply(f"{name} is no DNS name ({e})") from None
    head = struct.pack("!HHHHHH", dns.entropy.random_16(), flags, 1, 0, 0, 1)
    question = struct.pack("!HH", dns.rdatatype.from_text(kind), dns.rdataclass.IN)
    return head + owner + question + struct.pack("!BHHIH", 0, dns.rdatatype.OPT, _PAYLOAD, 0, 0)


def _by_udp(query: bytes, where: Address, timeout: float) -> bytes:
    """The answer's bytes. A connected socket hears only this server, and "port unreachable" at once."""
    deadline = time.monotonic() + timeout
    family = socket.AF_INET6 if where.is_v6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connected:
        try:
            connected.connect((where.host, where.port))
        except OSError as e:
            raise NoRoute(f"no route ({e.strerror})") from None
        connected.send(query)
        while (left := deadline - time.monotonic()) > 0:
            connected.settimeout(left)
            answer = connected.recv(_LARGEST)
            if _answers(query, answer):
                return answer
    raise TimeoutError


def _by_tcp(query: bytes, where: Address, timeout: float) -> dns.message.Message:
    asked = dns.message.from_wire(query)
    return dns.query.tcp(asked, where.host, timeout, where.port)


def _answers(query: bytes, answer: bytes) -> bool:
    """Whether it has our number, says it is a response, and repeats our question (in whatever case)."""
    question = query[_HEADER : len(query) - _OPT * query[_HEADER - 1]]
    repeated = answer[_HEADER : _HEADER + len(question)]
    same = repeated.lower() == question.lower() or (answer[4:6] == b"\0\0" and len(answer) >= _HEADER)
    return answer[:2] == query[:2] and len(answer) >= _HEADER and bool(answer[2] & _RESPONSE) and same


def _why(e: Exception) -> str:
    if isinstance(e, dns.exception.Timeout | TimeoutError):
        return SILENT
    if isinstance(e, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(e, OSError):
        return e.strerror or "network error"
    return "a broken answer"
