"""ACME (RFC 8555): the only package that imports `acme` and `josepy`."""

from __future__ import annotations

from knit.issuers.acme.accounts import Holder
from knit.issuers.acme.issuer import AcmeIssuer, Site

__all__ = ["AcmeIssuer", "Holder", "Site"]
