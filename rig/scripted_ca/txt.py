"""How the CA reads TXT values when it validates for real: from one server, over UDP with TCP as the way out."""

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

_TIMEOUT_S = 5.0
_HOPS_MOST = 10


class LookupFailed(Exception):
    """No usable answer; the text is what a public CA would say."""


async def txt_values(server: str, name: str) -> list[str]:
    """Give the TXT values at the end of the CNAME chain of `name`; raise LookupFailed when there is no answer."""
    wanted = dns.name.from_text(name)
    for _ in range(_HOPS_MOST):
        reply = await _asked(server, wanted)
        end = _end_of_chain(reply, wanted)
        found = reply.get_rrset(reply.answer, end, dns.rdataclass.IN, dns.rdatatype.TXT)
        if found is not None:
            return [b"".join(item.strings).decode("utf-8", "replace") for item in found]
        if end == wanted:
            return []
        wanted = end
    raise LookupFailed("too many CNAMEs")


async def _asked(server: str, name: dns.name.Name) -> dns.message.Message:
    host, _, port = server.rpartition(":")
    query = dns.message.make_query(name, dns.rdatatype.TXT)
    try:
        reply, _ = await dns.asyncquery.udp_with_fallback(query, host, timeout=_TIMEOUT_S, port=int(port))
    except (dns.exception.DNSException, OSError) as failure:
        raise LookupFailed(type(failure).__name__) from failure
    if reply.rcode() == dns.rcode.NXDOMAIN:
        raise LookupFailed("NXDOMAIN")
    if reply.rcode() != dns.rcode.NOERROR:
        raise LookupFailed(dns.rcode.to_text(reply.rcode()))
    return reply


def _end_of_chain(reply: dns.message.Message, name: dns.name.Name) -> dns.name.Name:
    for _ in range(_HOPS_MOST):
        link = reply.get_rrset(reply.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if link is None:
            return name
        name = link[0].target
    raise LookupFailed("too many CNAMEs")
