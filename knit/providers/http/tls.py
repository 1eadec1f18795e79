"""Whom the HTTP clients of DNS providers trust: what the rest of the system trusts, and the user's own roots."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from knit.errors import Misconfigured
from knit.providers.scratch import kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The system's roots and, besides them, those in `file` (PEM) and in every file of `folders`.

    OpenSSL takes SSL_CERT_FILE for the system's file by itself; of SSL_CERT_DIR it reads only files that are named by
    their hash, and Go all of them.
    """

    file: str | None = None
    folders: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """TLS settings that trust these. Raises Misconfigured when `file` holds no certificate."""
        return _context(self, ssl.get_default_verify_paths())

    def bundle(self) -> str:
        """The path of a file with all of them, for libraries that want one. It lives as long as this process."""
        return _bundle(self, ssl.get_default_verify_paths())


class Trusting(HTTPAdapter):
    """Makes the connections of a requests session trust what the context trusts, and nothing else."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        """Direct connections."""
        super().init_poolmanager(*given, **named, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """Connections through a proxy."""
        return super().proxy_manager_for(proxy, **named, ssl_context=self._context)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave out the roots that requests brings; those of REQUESTS_CA_BUNDLE, which the user chose, are added."""
        if verify is not True:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


@cache
def _context(trust: Trust, system: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    return _made(trust, system)


def _made(trust: Trust, system: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not system.cafile and not any(_files((system.capath or "",))):
        context.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
    for path in _files(trust.folders):
        with suppress(OSError):
            context.load_verify_locations(cafile=str(path))
    if trust.file is not None:
        try:
            context.load_verify_locations(cafile=trust.file)
        except OSError:
            raise Misconfigured(f"KNIT_DNS_CA_FILE: {trust.file}: no PEM certificates can be read from it") from None
    return context


@cache
def _bundle(trust: Trust, system: ssl.DefaultVerifyPaths) -> str:
    context = _made(trust, system)
    # OpenSSL looks into the system's folder only when it needs to, so it has not told of those yet.
    for path in _files((system.capath or "",)):
        with suppress(OSError):
            context.load_verify_locations(cafile=str(path))
    roots = "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
    return kept("knit-roots", roots.encode("ascii"))


def _files(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in map(Path, filter(None, folders)):
        with suppress(OSError):
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def session(trust: Trust) -> requests.Session:
    """A requests session that trusts these."""
    made = requests.Session()
    made.mount("https://", Trusting(trust.context()))
    return made
