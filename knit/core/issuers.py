"""Where an issuer's certificates come from: remembered at its first use, so that no stray setting can switch it."""

from __future__ import annotations

from urllib.parse import urlsplit

from knit.core.model.issuer import Identity, Terms

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


def refusal(terms: Terms, remembered: Identity | None) -> str | None:
    """Why a process with these terms issues nothing; None when it may. `remembered` is None before the first use."""
    if remembered is None:
        return None
    name = terms.name
    if not agree(remembered.directory, terms.directory):
        return (
            f"issuer {name} is {terms.directory} here, but its certificates come from {remembered.directory}: "
            f"nothing is issued from it before `knit issuers accept {name}` confirms the switch"
        )
    if None not in (terms.roots, remembered.roots) and terms.roots != remembered.roots:
        return (
            f"the roots that vouch for issuer {name} ({terms.directory}) are others here than those that are recorded: "
            f"nothing is issued from it before `knit issuers accept {name}` confirms them"
        )
    return None


def is_to_be_recorded(terms: Terms, remembered: Identity | None) -> bool:
    """Whether something of what it is has not been recorded yet."""
    return remembered is None or (remembered.roots is None and terms.roots is not None)
