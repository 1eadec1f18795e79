"""One form for whatever a CA sends."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core import x509
from knit.core.chain import canonical
from knit.core.model.keys import KeyType
from knit.errors import BundleMismatch
from tests.unit.core.test_x509 import AUTHORITY, GOOD, NAMES, PRIVKEY, chain, made, public

ONE_FORM = re.compile(rb"(-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n)+")
CSR = x509.CertKey.of(PRIVKEY).csr(NAMES)
LEAF = made(GOOD, public(PRIVKEY))


@pytest.mark.parametrize(
    "sent",
    [
        LEAF + AUTHORITY,
        AUTHORITY + LEAF,
        LEAF.strip() + AUTHORITY.strip(),
        (LEAF + AUTHORITY).replace(b"\n", b"\r\n"),
        (LEAF + AUTHORITY).replace(b"\n", b"\r"),
        (LEAF + AUTHORITY).replace(b"\n", b" \t"),
        b"Bag Attributes\n" + LEAF + b"subject=/CN=x\n" + AUTHORITY + b"-- \nyour CA",
        b"\xef\xbb\xbf\x00" + LEAF + AUTHORITY + LEAF + AUTHORITY,
    ],
)
def test_every_form_of_a_chain_becomes_the_same_bytes(sent: bytes) -> None:
    assert canonical(sent, CSR) == LEAF + AUTHORITY


def test_the_leaf_is_the_one_of_the_key_that_was_certified() -> None:
    another = made(GOOD, public(x509.CertKey.new(KeyType.EC256).pem))
    assert canonical(another + LEAF + AUTHORITY, CSR) == LEAF + AUTHORITY


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "does not parse"),
        (b"<html>one moment</html>", "does not parse"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "does not parse"),
        (LEAF * 31, "more than 30"),
        (LEAF + AUTHORITY + PRIVKEY, "private key"),
    ],
)
def test_what_holds_no_chain_is_refused(sent: bytes, reason: str) -> None:
    with pytest.raises(BundleMismatch, match=reason):
        canonical(sent, CSR)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(min_value=0, max_value=len(chain()) - 1), st.binary(min_size=1, max_size=4))
def test_whatever_is_damaged_nothing_but_certificates_comes_out(place: int, damage: bytes) -> None:
    whole = chain()
    with suppress(BundleMismatch):
        found = canonical(whole[:place] + damage + whole[place + len(damage) :], CSR)
        assert ONE_FORM.fullmatch(found)
