"""Which keys certificates may have."""

from __future__ import annotations

from enum import StrEnum


class KeyType(StrEnum):
    """Kinds of certificate keys; the value is the word on the command line and in Postgres."""

    EC256 = "ec256"
    EC384 = "ec384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
