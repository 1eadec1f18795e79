"""Where an issuer's certificates come from: remembered at its first use, so that no stray setting can switch it."""

from __future__ import annotations

from urllib.parse import urlsplit

from knit.core.model.issuer import Terms

LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
GOOGLE_STAGING = "https://dv.acme-v02.test-api.pki.goog/directory"
STAGING = frozenset({LETS_ENCRYPT_STAGING, GOOGLE_STAGING})
"""Directories whose certificates are for trials."""


def of_host(host: str) -> str:
    """A directory of which only the host is known: that of the account the Go knit registered."""
    return f"https://{host}/"


def agree(remembered: str, directory: str) -> bool:
    """Whether these are one directory, as far as is known."""
    host = urlsplit(directory).hostname
    return remembered == directory or (host is not None and remembered == of_host(host))


def refusal(terms: Terms, remembered: str | None) -> str | None:
    """Why a process with these terms issues nothing; None when it may. `remembered` is None before the first use."""
    if remembered is None or agree(remembered, terms.directory):
        return None
    name = terms.name
    return (
        f"issuer {name} is {terms.directory} here, but its certificates come from {remembered}: "
        f"nothing is issued from it before `knit issuers accept {name}` confirms the switch"
    )
