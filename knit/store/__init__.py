"""Postgres: the list of certificates and the journal of everything done about them."""
