"""Certificates that are to be revoked, or were."""
