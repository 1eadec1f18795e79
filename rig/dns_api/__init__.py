"""Strict fakes of DNS providers' APIs, one file each, written from the provider's documentation."""
