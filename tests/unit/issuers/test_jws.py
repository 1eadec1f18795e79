"""Requests signed by hand, as the library would verify them."""

from __future__ import annotations

import json

import josepy
import pytest
from acme import challenges, jws

from knit.core.model.keys import KeyType
from knit.core.x509 import CertKey
from knit.errors import CredentialsRejected
from knit.issuers.acme.jws import Signer, new_account_key, txt_value

URL, NONCE = "https://ca.example/order/1", "abc-_123"


@pytest.mark.parametrize("key_type", [KeyType.EC256, KeyType.EC384, KeyType.RSA2048])
def test_every_kind_of_account_key_signs_what_the_library_verifies(key_type: KeyType) -> None:
    signer = Signer(CertKey.new(key_type).pem.decode())
    for account in (None, "https://ca.example/acct/1"):
        signed = jws.JWS.from_json(json.loads(signer.sign(URL, NONCE, b'{"a":1}', account)))
        assert signed.verify(signer.public)
        header = signed.signature.combined.to_json()
        assert (header["url"], header["nonce"], signed.payload) == (URL, NONCE, b'{"a":1}')
        assert (header.get("kid"), "jwk" in header) == (account, account is None)


def test_txt_values_are_those_of_the_library() -> None:
    signer = Signer(new_account_key())
    challenge = challenges.DNS01(token=b"0123456789abcdef0123456789abcdef")
    token = challenge.encode("token")
    assert txt_value(signer.key_authorization(token)) == challenge.validation(signer.key)


@pytest.mark.parametrize("pem", ["", "no key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"])
def test_an_unusable_account_key_is_refused_without_showing_it(pem: str) -> None:
    with pytest.raises(CredentialsRejected) as refused:
        Signer(pem)
    assert "c2VjcmV0" not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_the_library_can_read_the_public_half() -> None:
    assert isinstance(Signer(new_account_key()).public, josepy.JWKEC)
