"""Where certificates come from, one file per kind of issuer."""
