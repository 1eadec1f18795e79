"""Issuers as they were first used, and the accounts there."""
