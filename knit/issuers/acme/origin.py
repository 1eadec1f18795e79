"""Where a CA may be spoken to: hosts, ports and the roots that vouch for them."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from knit.errors import Misconfigured

# A URL from the CA ends up in a request line and in signed JSON: nothing but visible ASCII without quotes.
URL = re.compile(r"https://[!#-\[\]-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme https, host and port: all that knit speaks to at one CA."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises ValueError for anything that is not an https URL of plain ASCII."""
        parts = urlsplit(url)
        if not URL.fullmatch(url) or parts.hostname is None or parts.username is not None:
            message = "not an https URL"
            raise ValueError(message)
        return cls(parts.hostname, parts.port or 443)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def with_port(self) -> str:
        """Host and port, whichever it is."""
        return f"{self}:443" if self.port == 443 else str(self)

    def holds(self, url: str) -> bool:
        """Whether this is an https URL, plain ASCII, at this very host and port."""
        if url.startswith(f"https://{self}/"):
            return bool(URL.fullmatch(url))
        try:
            return Origin.of(url) == self
        except ValueError:
            return False


def trust(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    """TLS settings: the system's roots, or exactly those in the files. Raises Misconfigured."""
    try:
        # Reading the system's roots takes 20 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if ca_files else ssl.create_default_context()
        for path in ca_files:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(ca_files) or "the system's roots"
        message = f"{files}: no PEM certificates can be read from it, as the roots that vouch for the issuer"
        raise Misconfigured(message) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def roots(ca_files: tuple[str, ...]) -> bytes:
    """The certificates in the files, PEM: who may have signed a certificate directly."""
    context = trust(ca_files) if ca_files else None
    found = context.get_ca_certs(binary_form=True) if context else []
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in found).encode()
