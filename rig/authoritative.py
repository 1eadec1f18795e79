"""What every authoritative server of the rig can be asked."""

from __future__ import annotations

from collections.abc import Iterable

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from rig.process import RigError, accepts


class Authoritative:
    """A DNS server on 127.0.0.1 and the zones it is to serve."""

    def __init__(self, port: int, zones: Iterable[str]) -> None:
        self.port = port
        self.zones = tuple(zone.rstrip(".") + "." for zone in zones)

    @property
    def address(self) -> str:
        """host:port, UDP and TCP."""
        return f"127.0.0.1:{self.port}"

    def serves_all(self) -> bool:
        """Whether it listens and knows every zone."""
        return accepts(self.port) and all(self._serves(zone) for zone in self.zones)

    def txt(self, name: str) -> list[str]:
        """The TXT values that it serves at a name now, sorted."""
        answer = dns.query.tcp(dns.message.make_query(name, "TXT"), "127.0.0.1", port=self.port, timeout=5)
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            message = f"the server answered {dns.rcode.to_text(answer.rcode())} for {name}"
            raise RigError(message)
        sets = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT]
        return sorted(b"".join(record.strings).decode() for rrset in sets for record in rrset)

    def _serves(self, zone: str) -> bool:
        query = dns.message.make_query(zone, "SOA")
        try:
            answer = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=0.5)
        except (dns.exception.Timeout, OSError):
            return False
        return answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)
