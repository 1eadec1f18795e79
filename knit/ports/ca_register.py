"""What a CA of our own has issued, and what of it is revoked: kept where all workers are, for whoever makes a list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from knit.core.ca_signing import CertTemplate, CrlEntry
from knit.core.model.certificate import CertId


class NextList(NamedTuple):
    """Number, instant and entries of the next list of revoked certificates."""

    number: int
    at: datetime
    revoked: Sequence[CrlEntry]


class CaRegister(Protocol):
    """By the directory of the CA, which tells its key, and the serial number."""

    def record(self, directory: str, cert_id: CertId | None, plan: CertTemplate) -> CertTemplate:
        """A certificate is about to be signed.

        Gives what was recorded first under its serial number, to be signed again.
        """

    def revoke(self, directory: str, serial: int, reason: str) -> datetime:
        """The certificate is revoked from now on, or since the instant that is given.

        A compromised key outweighs other reasons. Raises Refused for a number that this CA has not issued.
        """

    def next_crl(self, directory: str) -> NextList:
        """What the next list says. Its number is greater than any before, from an older database too.

        A certificate that has ended stays until one list has had it after its end (RFC 5280 section 3.3).
        """
