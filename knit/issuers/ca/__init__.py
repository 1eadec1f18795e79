"""A CA of knit's own: signs with a root or an intermediate from files, and asks for no proofs."""

from knit.issuers.ca.issuer import CaIssuer, Policy

__all__ = ["CaIssuer", "Policy"]
