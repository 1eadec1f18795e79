"""ACME (RFC 8555): the only package that imports `acme` and `josepy`."""

from __future__ import annotations

from knit.issuers.acme.accounts import AccountOwner
from knit.issuers.acme.issuer import AcmeIssuer, Site

__all__ = ["AccountOwner", "AcmeIssuer", "Site"]
