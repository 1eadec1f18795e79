"""Zones as people break them, each with the sentence that `knit dns check` and a failed renewal have for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from knit.dns.delegation import HOPS
from rig.dns_api.server import Response
from rig.dns_world import Answer, World, Zone
from tests.integration.dns.hosted import HostedDesec

NAME = "_acme-challenge.example.org"
SECOND = "127.0.0.9"
UNROUTED = "127.255.255.255"
"""A broadcast address: like an IPv6 address without IPv6, it cannot be sent to at all."""

US = "https://ca.example/acct/1"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What there is to break. Before that, example.org is whole, and hosted at deSEC."""

    world: World
    zone: Zone
    desec: HostedDesec

    def more_servers(self, *hosts: str) -> None:
        """The zone gets these as ns2, ns3, …, with the same contents."""
        for number, host in enumerate(hosts, 2):
            self.zone.add("example.org", "NS", f"ns{number}.example.org.")
            self.zone.add(f"ns{number}.example.org", "A", host)
            self.world.server(host).zones["example.org"] = self.zone


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One way to break it. `check` and `renewal` are patterns; a renewal without one succeeds.

    `line` begins the finding's subject; `ca` is a problem that the CA answers the challenge with, as it would.
    """

    name: str
    how: Callable[[Site], None]
    line: str
    verdict: str
    check: str
    renewal: str | None
    domain: str = "example.org"
    looking: Mapping[str, object] = field(default_factory=dict)
    ca: str | None = None


def soa(serial: int) -> str:
    return f"ns1.example.org. hostmaster.example.org. {serial} 60 60 3600 0"


def old_copy() -> Zone:
    copy = Zone(name="example.org")
    copy.add("example.org", "SOA", soa(0))
    return copy


def loop(site: Site) -> None:
    site.zone.add(NAME, "CNAME", "b.example.org.")
    site.zone.add("b.example.org", "CNAME", f"{NAME}.")


def long_chain(site: Site) -> None:
    names = [NAME, *(f"hop{number}.example.org" for number in range(HOPS + 1))]
    for name, target in pairwise(names):
        site.zone.add(name, "CNAME", f"{target}.")


def foreign_zone(site: Site) -> None:
    site.zone.add(NAME, "CNAME", "x.foreign.test.")
    site.world.zone("foreign.test", "127.0.0.4")


def wildcard_alias(site: Site) -> None:
    site.zone.add("*.example.org", "CNAME", "x.foreign.test.")
    site.world.zone("foreign.test", "127.0.0.4")


def wildcard_text(site: Site) -> None:
    site.zone.add("*.example.org", "TXT", '"v=spf1 -all"')


def lame(site: Site) -> None:
    site.more_servers("127.0.0.3")
    del site.world.server("127.0.0.3").zones["example.org"]


def not_authoritative(site: Site) -> None:
    def from_a_cache(_: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        answer.flags &= ~dns.flags.AA
        return answer

    def old_text(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        if query.question[0].rdtype == dns.rdatatype.TXT:
            answer.answer = []
        return from_a_cache(query, answer)

    site.more_servers("127.0.0.3")
    site.world.server("127.0.0.3").override = old_text


def lagging(site: Site) -> None:
    site.more_servers("127.0.0.3", "127.0.0.4")
    site.world.server("127.0.0.4").zones["example.org"] = old_copy()


def answering(site: Site, host: str, rcode: dns.rcode.Rcode, kind: str | None = None) -> None:
    def override(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        if kind is None or query.question[0].rdtype == dns.rdatatype.from_text(kind):
            answer.set_rcode(rcode)
            answer.answer, answer.authority = [], []
        return answer

    site.world.server(host).override = override


def expired(site: Site) -> None:
    site.more_servers("127.0.0.3")
    answering(site, "127.0.0.3", dns.rcode.SERVFAIL)


def cannot_say_txt(site: Site) -> None:
    site.more_servers("127.0.0.3")
    answering(site, "127.0.0.3", dns.rcode.SERVFAIL, "TXT")


def unsigned(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
    """What a resolver makes of a zone whose signatures are wrong (RFC 4035 section 5.5)."""
    if "example.org" not in str(query.question[0]) or query.flags & dns.flags.CD:
        return answer
    failure = dns.message.make_response(query)
    failure.set_rcode(dns.rcode.SERVFAIL)
    return failure


def bogus(site: Site) -> None:
    site.world.resolver.override = unsigned


def bogus_for_one(site: Site) -> None:
    site.world.another_resolver(SECOND).override = unsigned


def dead_second_resolver(site: Site) -> None:
    site.world.another_resolver(SECOND).override = lambda _, __: None


def no_resolver(site: Site) -> None:
    site.world.resolver.override = lambda _, __: None


def refusing_resolver(site: Site) -> None:
    def refuse(_: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        answer.set_rcode(dns.rcode.REFUSED)
        answer.answer = []
        return answer

    site.world.resolver.override = refuse


def nameless(site: Site) -> None:
    site.zone.add("example.org", "NS", "gone.example.org.")


def nothing_there(site: Site) -> None:
    site.zone.add("example.org", "NS", "ns2.example.org.")
    site.zone.add("ns2.example.org", "A", "127.0.0.77")


def no_glue(site: Site) -> None:
    del site.zone.records["ns1.example.org", "A"]


def spoilt(site: Site, spoil: Callable[[dns.message.Message], bytes]) -> None:
    def override(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        return spoil(answer) if query.question[0].rdtype == dns.rdatatype.TXT else answer

    site.more_servers("127.0.0.3")
    site.world.server("127.0.0.3").override = override


def broken_signature(site: Site) -> None:
    """An RRSIG record whose data is nine bytes long; the shortest there can be has nineteen (RFC 4034 section 3.1)."""

    def spoil(answer: dns.message.Message) -> bytes:
        wire = bytearray(answer.to_wire())
        wire[6:8] = (len(answer.answer) + 1).to_bytes(2, "big")
        wire[8:12] = bytes(4)
        end = 12 + len(answer.question[0].name.to_wire() or b"") + 4
        record = b"\xc0\x0c" + b"\0\x2e\0\x01" + bytes(4) + b"\0\x09" + b"\xff" * 9
        return bytes(wire[:end]) + record * (len(answer.answer) + 1)

    spoilt(site, spoil)


def malformed(site: Site) -> None:
    spoilt(site, lambda answer: answer.to_wire()[:-3] + b"\xc0\xff\xff")


def inside_view(site: Site) -> None:
    """The provider writes to the zone the world sees; this network has its own servers with a zone of their own."""
    site.world.server("127.0.0.2").zones["example.org"] = old_copy()


def resolver_with_own_data(site: Site) -> None:
    def local_data(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        kind = query.question[0].rdtype
        here = dns.rrset.from_text("example.org.", 0, "IN", "SOA", soa(2024010101))
        if kind == dns.rdatatype.SOA and str(query.question[0].name) == "example.org.":
            answer.answer = [here]
        elif kind == dns.rdatatype.TXT:
            answer.answer, answer.authority = [], [here]
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    site.world.resolver.override = local_data


def caa(*values: str) -> Callable[[Site], None]:
    return lambda site: site.zone.add("example.org", "CAA", *values)


def unreadable_caa(site: Site) -> None:
    def override(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
        if query.question[0].rdtype == dns.rdatatype.CAA:
            answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    site.world.resolver.override = override


def leftovers(site: Site) -> None:
    for number in range(10):
        site.desec.seed("example.org", NAME, f"old{number}")


def blocked(site: Site) -> None:
    site.more_servers("127.0.0.3")
    for host in ("127.0.0.2", "127.0.0.3"):
        site.world.server(host).override = lambda _, __: None


def too_long_without_tcp(site: Site) -> None:
    for number in range(20):
        site.desec.seed("example.org", NAME, f"{number:0>200}")
    site.world.stop_tcp("127.0.0.2")


def unregistered(site: Site) -> None:
    site.world.zone("test", "127.0.0.5")


def nowhere(site: Site) -> None:
    """Nothing is broken but the name that is asked for."""
    assert site.zone.name == "example.org"


def remembering(site: Site) -> None:
    """Somebody has asked the resolver for the challenge name a moment ago: it says no for an hour."""
    site.zone.negative = 3600
    site.world.resolver.answer(dns.message.make_query(NAME, "TXT"))


def no_route(site: Site) -> None:
    site.zone.records["ns1.example.org", "A"] = [UNROUTED]


def route_to_one(site: Site) -> None:
    site.zone.add("ns1.example.org", "A", UNROUTED)


def read_only(site: Site) -> None:
    site.desec.fail(Response(status=403, body=b'{"detail": "policy"}'), times=9, match=site.desec.is_write)


def other_account(site: Site) -> None:
    site.desec.zones.clear()


TWO_RESOLVERS = {"two": True}
CAA_SAYS = "urn:ietf:params:acme:error:caa"

ZONES = (
    Broken(
        name="the CNAME chain loops",
        how=loop,
        line="delegation",
        verdict="failed",
        check=rf"loops: {NAME} -> b\.example\.org -> {NAME}",
        renewal=rf"loops: {NAME} -> b\.example\.org -> {NAME}",
    ),
    Broken(
        name="the CNAME chain is too long",
        how=long_chain,
        line="delegation",
        verdict="failed",
        check=f"longer than {HOPS}",
        renewal=f"longer than {HOPS}",
    ),
    Broken(
        name="the CNAME chain ends in a foreign zone",
        how=foreign_zone,
        line="provider",
        verdict="failed",
        check=r"no zone for x\.foreign\.test .*leads there by CNAME, and LEGO_DISABLE_CNAME_SUPPORT",
        renewal=r"no zone for x\.foreign\.test .*leads there by CNAME, and LEGO_DISABLE_CNAME_SUPPORT",
    ),
    Broken(
        name="a wildcard CNAME covers the challenge's name",
        how=wildcard_alias,
        line="delegation",
        verdict="ok",
        check=rf"^{NAME} is in zone example\.org$",
        renewal=None,
    ),
    Broken(
        name="a wildcard TXT record shines through",
        how=wildcard_text,
        line="leftovers",
        verdict="ok",
        check="the 1 shown at .* are a wildcard's",
        renewal=None,
    ),
    Broken(
        name="a server does not hold the zone",
        how=lame,
        line="server ns2.example.org (127.0.0.3",
        verdict="failed",
        check=r"answers REFUSED \(it does not hold this zone\): repair it or take it out of the NS records",
        renewal=r"not there yet: ns2\.example\.org \(127\.0\.0\.3:\d+\) answers REFUSED \(it does not hold this zone\)",
    ),
    Broken(
        name="a server answers from a cache",
        how=not_authoritative,
        line="server ns2.example.org (127.0.0.3",
        verdict="failed",
        check="is lame: it does not hold this zone: repair it",
        renewal=r"not there yet: ns2\.example\.org \(127\.0\.0\.3:\d+\) is lame: it does not hold this zone",
    ),
    Broken(
        name="one server of three lags",
        how=lagging,
        line="server ns3.example.org (127.0.0.4",
        verdict="warning",
        check="serial 0, others have 1: it lags, and the order waits for it",
        renewal=r"not there yet: ns3\.example\.org \(127\.0\.0\.4:\d+\) shows no such name$",
    ),
    Broken(
        name="a secondary's copy has expired",
        how=expired,
        line="server ns2.example.org",
        verdict="failed",
        check="answers SERVFAIL .*has expired.*repair it",
        renewal=r"not there yet: ns2\.example\.org .* answers SERVFAIL \(its copy .* has expired\)",
    ),
    Broken(
        name="a server fails on TXT alone",
        how=cannot_say_txt,
        line="server ns2.example.org",
        verdict="failed",
        check="answers SERVFAIL",
        renewal=r"ns2\.example\.org .* answers SERVFAIL",
    ),
    Broken(
        name="DNSSEC is broken for the only resolver",
        how=bogus,
        line="delegation",
        verdict="failed",
        check=r"127\.0\.0\.1:\d+: answers SERVFAIL \(a broken DNSSEC chain, or a dead name server\)",
        renewal=r"127\.0\.0\.1:\d+: answers SERVFAIL \(a broken DNSSEC chain, or a dead name server\)",
    ),
    Broken(
        name="DNSSEC is broken for a resolver that looks",
        how=bogus_for_one,
        line=f"resolver {SECOND}",
        verdict="failed",
        check="says that the zone's DNSSEC is broken: renew the signatures, or correct the DS record",
        renewal=rf"resolver {SECOND}.*answers SERVFAIL \(a broken DNSSEC chain.*KNIT_DNS_DISABLE_RECURSIVE_CHECK",
        looking=TWO_RESOLVERS,
    ),
    Broken(
        name="one resolver of two is dead",
        how=dead_second_resolver,
        line=f"resolver {SECOND}",
        verdict="warning",
        check="no answer in time: left out, as others answer",
        renewal=None,
        looking=TWO_RESOLVERS,
    ),
    Broken(
        name="the only resolver is dead",
        how=no_resolver,
        line="delegation",
        verdict="failed",
        check=r"does not say where .* is: 127\.0\.0\.1:\d+: no answer in time",
        renewal=r"does not say where .* is: 127\.0\.0\.1:\d+: no answer in time",
    ),
    Broken(
        name="the resolver does not serve us",
        how=refusing_resolver,
        line="delegation",
        verdict="failed",
        check=r"answers REFUSED \(it does not serve this machine\)",
        renewal=r"answers REFUSED \(it does not serve this machine\)",
    ),
    Broken(
        name="an NS record leads to no address",
        how=nameless,
        line="server gone.example.org",
        verdict="warning",
        check="has no address: take it out of the NS records of example.org, or give it one",
        renewal=None,
    ),
    Broken(
        name="an NS record leads to a machine without DNS",
        how=nothing_there,
        line="server ns2.example.org (127.0.0.77",
        verdict="failed",
        check="nothing listens there: repair it or take it out",
        renewal=r"not there yet: ns2\.example\.org \(127\.0\.0\.77:\d+\) nothing listens there",
    ),
    Broken(
        name="glue is missing",
        how=no_glue,
        line="servers",
        verdict="failed",
        check="no name server of example.org has an address: its NS records are wrong or lack glue",
        renewal="no name server of example.org has an address: its NS records are wrong or lack glue",
    ),
    Broken(
        name="a signature is garbage",
        how=broken_signature,
        line="server ns2.example.org",
        verdict="failed",
        check="a broken answer: repair it",
        renewal=r"ns2\.example\.org \(127\.0\.0\.3:\d+\) a broken answer",
    ),
    Broken(
        name="a server's packets are malformed",
        how=malformed,
        line="server ns2.example.org",
        verdict="failed",
        check="a broken answer: repair it",
        renewal=r"ns2\.example\.org \(127\.0\.0\.3:\d+\) a broken answer",
    ),
    Broken(
        name="this network has a zone of its own",
        how=inside_view,
        line="provider",
        verdict="failed",
        check=r"shows no such name; these are addresses of a private network: .*split horizon.*KNIT_DNS_RESOLVERS",
        renewal=r"shows no such name; these are addresses of a private network: .*split horizon.*KNIT_DNS_RESOLVERS",
    ),
    Broken(
        name="the resolver has a zone of its own",
        how=resolver_with_own_data,
        line="resolver 127.0.0.1",
        verdict="warning",
        check=r"serial 2024010101, the zone's servers have 1: it may see another zone \(split horizon\); set KNIT_DNS",
        renewal=r"resolver 127\.0\.0\.1:\d+ does not show .*shows no such name \(its own servers do; KNIT_DNS_DISABLE",
    ),
    Broken(
        name="CAA names another CA",
        how=caa('0 issue "other.example"'),
        line="CAA",
        verdict="failed",
        check=r'forbids it: 0 issue "other\.example": names another CA; add 0 issue "ca\.example" there',
        renewal="CAA record for example.org prevents issuance",
        ca=CAA_SAYS,
    ),
    Broken(
        name="CAA forbids wildcards",
        how=caa('0 issue "ca.example"', '0 issuewild ";"'),
        line="CAA",
        verdict="failed",
        check='0 issuewild ";": forbids every CA',
        renewal="CAA record for .* prevents issuance",
        domain="*.example.org",
        ca=CAA_SAYS,
    ),
    Broken(
        name="CAA is for another account",
        how=caa('0 issue "ca.example; accounturi=https://ca.example/acct/9"'),
        line="CAA",
        verdict="failed",
        check=f"is for the account https://ca.example/acct/9, ours is {US}",
        renewal="CAA record for .* prevents issuance",
        ca=CAA_SAYS,
    ),
    Broken(
        name="CAA does not allow this method",
        how=caa('0 issue "ca.example; validationmethods=http-01,tls-alpn-01"'),
        line="CAA",
        verdict="failed",
        check=r"does not allow dns-01 \(validationmethods=http-01,tls-alpn-01\)",
        renewal="CAA record for .* prevents issuance",
        ca=CAA_SAYS,
    ),
    Broken(
        name="CAA cannot be read",
        how=unreadable_caa,
        line="CAA",
        verdict="failed",
        check=r"cannot be read at example\.org .*SERVFAIL.*the CA would refuse, too",
        renewal="CAA record for .* prevents issuance",
        ca=CAA_SAYS,
    ),
    Broken(
        name="ten leftovers",
        how=leftovers,
        line="leftovers",
        verdict="warning",
        check=r"10 TXT record\(s\) at .* already, so many that CAs may refuse the answer: remove them",
        renewal=None,
    ),
    Broken(
        name="port 53 is blocked",
        how=blocked,
        line="server ns1.example.org",
        verdict="failed",
        check=r"no answer in time: if this machine may not ask .*port 53.*KNIT_DNS_PROPAGATION_WAIT",
        renewal=r"no name server of example\.org can be reached: ns1.*, ns2.*port 53.*KNIT_DNS_PROPAGATION_WAIT",
    ),
    Broken(
        name="port 53 is blocked and a fixed wait is set",
        how=blocked,
        line="server ns1.example.org",
        verdict="warning",
        check="KNIT_DNS_PROPAGATION_WAIT is set, so nobody asks it here",
        renewal=None,
        looking={"wait": 0.01},
    ),
    Broken(
        name="the answer does not fit into UDP and TCP is blocked",
        how=too_long_without_tcp,
        line="server ns1.example.org",
        verdict="failed",
        check="its answer does not fit into UDP, and by TCP: nothing listens there",
        renewal="its answer does not fit into UDP, and by TCP: nothing listens there",
    ),
    Broken(
        name="the domain is not registered",
        how=unregistered,
        line="delegation",
        verdict="failed",
        check="there is no such name, and only the top-level zone test answers for it: register it, or delegate it",
        renewal=r"no zone for _acme-challenge\.gone\.test .*top-level zone test answers for gone\.test: is it",
        domain="gone.test",
    ),
    Broken(
        name="the name is in no zone",
        how=nowhere,
        line="delegation",
        verdict="failed",
        check="is in no zone: the domain is not registered, or nobody has delegated it",
        renewal="is in no zone: the domain is not registered, or nobody has delegated it",
        domain="gone.test",
    ),
    Broken(
        name="the resolver remembers that there was nothing",
        how=remembering,
        line="resolver 127.0.0.1",
        verdict="ok",
        check="sees the zone",
        renewal=None,
    ),
    Broken(
        name="there is no route to any server",
        how=no_route,
        line="server ns1.example.org (127.255",
        verdict="failed",
        check=r"no route .*: this machine has no way to them .*IPv6.*KNIT_DNS_PROPAGATION_WAIT",
        renewal=r"no name server of example\.org can be reached: .*no way to them .*IPv6.*KNIT_DNS_PROPAGATION_WAIT",
    ),
    Broken(
        name="there is a route to one address of two",
        how=route_to_one,
        line="server ns1.example.org (127.255",
        verdict="warning",
        check="no route .*: left out, as others can be reached",
        renewal=None,
    ),
    Broken(
        name="the token may only read",
        how=read_only,
        line="provider",
        verdict="failed",
        check="desec does not accept the credential .*policy.*; it needs write access to the TXT record sets",
        renewal="desec does not accept the credential .*policy.*; it needs write access to the TXT record sets",
    ),
    Broken(
        name="the zone is in another account",
        how=other_account,
        line="provider",
        verdict="failed",
        check=r"desec: this account has no zone for _acme-challenge\.example\.org \(looked for example\.org first\)",
        renewal=r"desec: this account has no zone for _acme-challenge\.example\.org \(looked for example\.org first\)",
    ),
)
