"""Speaks HTTP to the APIs of DNS providers."""
