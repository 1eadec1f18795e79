"""A CA of knit's own: signs with a root or an intermediate from files, and asks for no proofs."""

from knit.issuers.ca.issuer import CaIssuer, CaPolicy

__all__ = ["CaIssuer", "CaPolicy"]
