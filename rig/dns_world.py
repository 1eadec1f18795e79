"""A small DNS of our own on loopback: zones on several name servers, a resolver with a cache, and faults on request.

Name servers listen on 127.0.0.2, 127.0.0.3, … all at one port; the resolver, on 127.0.0.1, sees the world through
the zone table, follows CNAMEs and caches negative answers for the SOA's minimum, as real resolvers do.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Answer = dns.message.Message | bytes | None
Override = Callable[[dns.message.QueryMessage, dns.message.Message], Answer]
"""Sees the question and the honest answer; gives what to send: a message, bytes, or None for silence."""

UDP_LIMIT = 1232


@dataclass(kw_only=True)
class Zone:
    """Records by (owner, type); `negative` is the SOA minimum: how long resolvers remember that a name is not there."""

    name: str
    negative: int = 60
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, owner: str, kind: str, *values: str) -> None:
        """Add records; owner without trailing dot."""
        self.records.setdefault((owner, kind), []).extend(values)

    def has(self, owner: str) -> bool:
        """Whether the owner exists, if only as an empty non-terminal."""
        return any(name == owner or name.endswith(f".{owner}") for name, _ in list(self.records))

    def rrset(self, owner: str, kind: str, ttl: int = 60) -> dns.rrset.RRset | None:
        """The record set, or None."""
        values = self.records.get((owner, kind))
        return dns.rrset.from_text(f"{owner}.", ttl, "IN", kind, *values) if values else None

    def by_wildcard(self, owner: str) -> Zone:
        """The zone as if the owner had what `*` at the zone's name has (RFC 4592)."""
        made = {(owner, kind): values for (name, kind), values in self.records.items() if name == f"*.{self.name}"}
        return Zone(name=self.name, negative=self.negative, records={**self.records, **made})

    def soa(self) -> dns.rrset.RRset:
        """The SOA as it stands in the authority section."""
        text = f"ns1.{self.name}. hostmaster.{self.name}. 1 60 60 3600 {self.negative}"
        return dns.rrset.from_text(f"{self.name}.", self.negative, "IN", "SOA", text)


def within(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


class NameServer:
    """Answers for its zones, with referrals to delegated children, until `override` says otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.zones: dict[str, Zone] = {}
        self.override: Override = lambda _, answer: answer
        self.questions: list[str] = []

    def answer(self, query: dns.message.QueryMessage) -> dns.message.Message:
        """The honest answer."""
        question = query.question[0]
        owner, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.questions.append(f"{owner} {kind}")
        answer = dns.message.make_response(query)
        zone = max((z for z in self.zones.values() if within(owner, z.name)), key=lambda z: len(z.name), default=None)
        if zone is None:
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        cut = next((o for (o, k) in list(zone.records) if k == "NS" and o != zone.name and within(owner, o)), None)
        if cut is not None:
            answer.authority.append(_found(zone.rrset(cut, "NS")))
            return answer
        answer.flags |= dns.flags.AA
        _fill(answer, zone, owner, kind)
        return answer

    def reply(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """Bytes in, bytes out; cut short for UDP."""
        query = dns.message.from_wire(wire)
        assert isinstance(query, dns.message.QueryMessage)
        sent = self.override(query, self.answer(query))
        if sent is None or isinstance(sent, bytes):
            return sent
        out = sent.to_wire(max_size=65535)
        if tcp or len(out) <= UDP_LIMIT:
            return out
        cut = dns.message.make_response(query)
        cut.flags |= dns.flags.TC
        return cut.to_wire()


class Recursive(NameServer):
    """A resolver over the world's zone table."""

    def __init__(self, host: str, port: int, world: World) -> None:
        super().__init__(host, port)
        self._world = world
        self._cache: dict[tuple[str, str], tuple[float, dns.message.Message]] = {}

    def answer(self, query: dns.message.QueryMessage) -> dns.message.Message:
        question = query.question[0]
        owner, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.questions.append(f"{owner} {kind}")
        kept = self._cache.get((owner, kind))
        if kept is not None and kept[0] > time.monotonic():
            answer = dns.message.make_response(query)
            answer.set_rcode(kept[1].rcode())
            answer.answer, answer.authority = kept[1].answer, kept[1].authority
            return answer
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        self._chase(answer, owner, kind)
        ttls = [rrset.ttl for rrset in (*answer.answer, *answer.authority)]
        if answer.rcode() != dns.rcode.SERVFAIL:
            self._cache[owner, kind] = (time.monotonic() + min(ttls, default=0), answer)
        return answer

    def forget(self) -> None:
        """Empty the cache, as time would."""
        self._cache.clear()

    def _chase(self, answer: dns.message.Message, owner: str, kind: str) -> None:
        for _ in range(12):
            zone = self._world.zone_for(owner)
            if zone is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
                return
            _fill(answer, zone, owner, kind)
            cname = _alias(answer, owner)
            if cname is None or kind == "CNAME":
                return
            owner = cname[0].target.to_text(omit_final_dot=True).lower()
        answer.set_rcode(dns.rcode.SERVFAIL)


class World:
    """All servers of one test. `zone()` makes a zone on some servers; the first argument of `port` serves them all."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.truth: dict[str, Zone] = {}
        self.servers: dict[str, NameServer] = {}
        self.resolver = Recursive("127.0.0.1", port, self)
        self._stack: list[socket.socket] = []

    def zone(self, name: str, *hosts: str, negative: int = 60) -> Zone:
        """A zone on the servers at these addresses (default 127.0.0.2), named ns1, ns2, … of the zone."""
        zone = Zone(name=name, negative=negative)
        zone.add(name, "SOA", f"ns1.{name}. hostmaster.{name}. 1 60 60 3600 {negative}")
        for number, host in enumerate(hosts or ("127.0.0.2",), 1):
            zone.add(name, "NS", f"ns{number}.{name}.")
            zone.add(f"ns{number}.{name}", "A", host)
            self.server(host).zones[name] = zone
        self.truth[name] = zone
        return zone

    def another_resolver(self, host: str) -> Recursive:
        """A second resolver, with a cache of its own."""
        resolver = Recursive(host, self.port, self)
        self._listen(resolver)
        return resolver

    def stop_tcp(self, host: str) -> None:
        """The server at this address takes no more TCP connections."""
        listening = (opened for opened in self._stack if opened.type == socket.SOCK_STREAM and opened.fileno() != -1)
        for opened in [opened for opened in listening if opened.getsockname()[0] == host]:
            opened.shutdown(socket.SHUT_RDWR)  # closing alone lets a waiting accept go on
            opened.close()

    def server(self, host: str) -> NameServer:
        """The name server at this address, made and started when it is first asked for."""
        if host not in self.servers:
            self.servers[host] = NameServer(host, self.port)
            self._listen(self.servers[host])
        return self.servers[host]

    def zone_for(self, owner: str) -> Zone | None:
        """The zone that holds the name, as the resolver sees the world."""
        fitting = [zone for zone in self.truth.values() if within(owner, zone.name)]
        return max(fitting, key=lambda zone: len(zone.name), default=None)

    @contextmanager
    def running(self) -> Iterator[World]:
        """Serve until the end of the block."""
        self._listen(self.resolver)
        try:
            yield self
        finally:
            for opened in self._stack:
                opened.close()

    def _listen(self, server: NameServer) -> None:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((server.host, self.port))
        tcp.bind((server.host, self.port))
        tcp.listen(16)
        # A socket closed by another thread does not wake a blocked one: so both wake up now and then.
        udp.settimeout(0.2)
        tcp.settimeout(0.2)
        self._stack += [udp, tcp]
        for work in (lambda: _serve_udp(udp, server), lambda: _serve_tcp(tcp, server)):
            threading.Thread(target=work, daemon=True).start()


def _fill(answer: dns.message.Message, zone: Zone, owner: str, kind: str) -> None:
    if not zone.has(owner) and zone.has(f"*.{zone.name}"):
        zone = zone.by_wildcard(owner)
    cname = zone.rrset(owner, "CNAME")
    found = zone.rrset(owner, kind) or cname
    if found is not None:
        answer.answer.append(found)
        return
    answer.authority.append(zone.soa())
    if not zone.has(owner):
        answer.set_rcode(dns.rcode.NXDOMAIN)


def _alias(answer: dns.message.Message, owner: str) -> dns.rrset.RRset | None:
    name = dns.name.from_text(owner)
    return next((s for s in answer.answer if s.rdtype == dns.rdatatype.CNAME and s.name == name), None)


def _found(rrset: dns.rrset.RRset | None) -> dns.rrset.RRset:
    assert rrset is not None
    return rrset


def _serve_udp(udp: socket.socket, server: NameServer) -> None:
    while udp.fileno() != -1:
        try:
            wire, peer = udp.recvfrom(65535)
            reply = server.reply(wire, tcp=False)
            if reply is not None:
                udp.sendto(reply, peer)
        except TimeoutError:
            continue
        except OSError:
            return


def _serve_tcp(tcp: socket.socket, server: NameServer) -> None:
    while tcp.fileno() != -1:
        try:
            client, _ = tcp.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        with client:
            client.settimeout(5)
            length = client.recv(2, socket.MSG_WAITALL)
            wire = client.recv(struct.unpack("!H", length)[0], socket.MSG_WAITALL) if length else b""
            reply = server.reply(wire, tcp=True) if wire else None
            if reply is not None:
                client.sendall(struct.pack("!H", len(reply)) + reply)
