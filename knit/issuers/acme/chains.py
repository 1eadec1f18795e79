"""The issued chain, and the choice among the chains a CA offers (RFC 8555 section 7.4.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from knit.issuers.acme.session import Session
from knit.issuers.acme.wire import Garbled, links

log = logging.getLogger(__name__)

MOST_ALTERNATES: Final = 10


def download(session: Session, url: str, preferred: str | None) -> bytes:
    """The default chain, or the first whose topmost issuer has the preferred common name.

    When none has it the default is taken, with a warning: a certificate on another chain beats none.
    """
    reply = session.network.post(url)
    if preferred is None or preferred in topmost_issuers(reply.body):
        return reply.body
    alternates = links(reply, "alternate", session.origin)[:MOST_ALTERNATES]
    for chain in _each(session, alternates):
        if preferred in topmost_issuers(chain):
            return chain
    log.warning("CA offers no chain of the preferred name", extra={"preferred": preferred, "offered": len(alternates)})
    return reply.body


def topmost_issuers(chain: bytes) -> list[str]:
    """Common names of the issuer of the last certificate. Raises Garbled."""
    try:
        last = x509.load_pem_x509_certificates(chain)[-1]
        attributes = last.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [str(attribute.value) for attribute in attributes]
    except ValueError as error:
        message = "the CA sent a chain that is not PEM certificates"
        raise Garbled(message) from error


def _each(session: Session, urls: list[str]) -> Iterator[bytes]:
    for url in urls:
        yield session.network.post(url).body
