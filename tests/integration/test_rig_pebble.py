"""The figures that acceptance tests count at the CA are right on whichever Pebble this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import josepy
import pytest
from acme import client as acme_client
from acme import crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rig.challtestsrv import ChallTestSrv
from rig.pebble import Pebble, PebbleOptions
from tests.fix_rig import running

NAMES = frozenset({"knit.example", "*.knit.example"})


def _subscriber(pebble: Pebble) -> acme_client.ClientV2:
    key = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    network = acme_client.ClientNetwork(key, alg=josepy.ES256, verify_ssl=str(pebble.ca_file))  # type: ignore[arg-type]  # a path works too
    subscriber = acme_client.ClientV2(acme_client.ClientV2.get_directory(pebble.directory_url, network), network)
    subscriber.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
    return subscriber


def _order(subscriber: acme_client.ClientV2) -> messages.OrderResource:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return subscriber.new_order(crypto_util.make_csr(pem, domains=sorted(NAMES)))


def _prove(subscriber: acme_client.ClientV2, order: messages.OrderResource, dns: ChallTestSrv | None) -> None:
    """Answer every DNS challenge; without `dns` the records stay missing."""
    for authorization in order.authorizations:
        challenge = next(found for found in authorization.body.challenges if found.chall.typ == "dns-01")
        answer, value = challenge.response_and_validation(subscriber.net.key)
        if dns is not None:
            dns.set_txt(challenge.chall.validation_domain_name(authorization.body.identifier.value), value)
        subscriber.answer_challenge(challenge, answer)


@pytest.fixture
def steady_pebble(challtestsrv: ChallTestSrv) -> Iterator[Pebble]:
    """A CA that rejects no nonce: the library alone retries only once."""
    options = PebbleOptions(nonce_reject_percent=0, dns_server=challtestsrv.address)
    yield from running(lambda: Pebble(options))


def test_orders_finalizations_and_certificates_are_counted(steady_pebble: Pebble, challtestsrv: ChallTestSrv) -> None:
    subscriber = _subscriber(steady_pebble)
    abandoned = _order(subscriber)
    order = _order(subscriber)
    _prove(subscriber, order, challtestsrv)
    subscriber.poll_and_finalize(order)
    assert steady_pebble.orders() == [abandoned.uri.rpartition("/")[2], order.uri.rpartition("/")[2]]
    assert steady_pebble.finalized() == [order.uri.rpartition("/")[2]]
    assert steady_pebble.issued_count() == {NAMES: 1}


def test_an_order_whose_record_is_missing_is_not_counted_as_issued(steady_pebble: Pebble) -> None:
    subscriber = _subscriber(steady_pebble)
    order = _order(subscriber)
    _prove(subscriber, order, None)
    with pytest.raises(errors.ValidationError):
        subscriber.poll_and_finalize(order)
    assert steady_pebble.finalized() == []
    assert steady_pebble.issued() == []
