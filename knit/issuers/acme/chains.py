"""The issued chain, and the choice among the chains a CA offers (RFC 8555 section 7.4.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from knit.core.chain import canonical
from knit.errors import BundleMismatch, Unreachable
from knit.issuers.acme.problems import ProblemReply
from knit.issuers.acme.session import Session
from knit.issuers.acme.wire import links

log = logging.getLogger(__name__)

MOST_ALTERNATES: Final = 10


def download(session: Session, url: str, csr_der: bytes, preferred: str | None) -> bytes:
    """The default chain of what was requested, or the one that people prefer by the name of an issuer.

    The first whose last certificate is issued under that name; else the first that has it anywhere: a root of that
    name which another one has signed leads to that other. When none has it, or can be had, the default is taken, with
    a warning: a certificate on another chain beats none. Raises ProblemReply, Unreachable, BundleMismatch.
    """
    reply = session.network.post(url)
    default = canonical(reply.body, csr_der)
    if preferred is None or preferred in issuers(default)[-1]:
        return default
    alternates = links(reply, "alternate", session.hosts)[:MOST_ALTERNATES]
    found = [default]
    for chain in _each(session, alternates, csr_der):
        if preferred in issuers(chain)[-1]:
            return chain
        found.append(chain)
    for chain in found:
        if any(preferred in names for names in issuers(chain)):
            return chain
    log.warning("CA offers no chain of the preferred name", extra={"preferred": preferred, "offered": len(alternates)})
    return default


def issuers(chain: bytes) -> list[frozenset[str]]:
    """Common names of the issuer of each certificate, from the leaf's on."""
    return [
        frozenset(str(name.value) for name in one.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME))
        for one in x509.load_pem_x509_certificates(chain)
    ]


def _each(session: Session, urls: list[str], csr_der: bytes) -> Iterator[bytes]:
    for url in urls:
        try:
            yield canonical(session.network.post(url).body, csr_der)
        except (ProblemReply, Unreachable, BundleMismatch) as error:
            log.warning("alternate chain not to be had", extra={"url": url, "reason": str(error)})
