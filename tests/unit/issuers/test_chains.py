"""By which names a chain is known."""

from __future__ import annotations

from dataclasses import replace

from knit.issuers.acme.chains import issuers
from tests.unit.core.test_x509 import GOOD, PRIVKEY, Sheet, made, public


def test_a_chain_is_known_by_the_issuers_of_its_certificates() -> None:
    leaf = made(replace(GOOD, issuer="R10"), public(PRIVKEY))
    middle = made(Sheet(names=(), subject="R10", issuer="Root X1", ca=True), public(PRIVKEY))
    assert issuers(leaf) == [{"R10"}]
    assert issuers(leaf + middle) == [{"R10"}, {"Root X1"}]
