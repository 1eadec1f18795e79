"""Certificates that nobody vouches for, at once, for trials."""

from knit.issuers.selfsigned.issuer import SelfSignedIssuer

__all__ = ["SelfSignedIssuer"]
