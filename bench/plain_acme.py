"""The baseline: a plain loop over the `acme` library, with its sleeping loops replaced by short waits of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import josepy
from acme import challenges, client, crypto_util, messages
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rig.pebble import Pebble

FIRST_WAIT = 0.015
ISSUANCE_WAIT = 0.02

Setting = Callable[[str, str], AbstractContextManager[None]]
"""Has the TXT value set at the name for as long as the context is open."""


def trusted(_name: str, _value: str) -> AbstractContextManager[None]:
    """For a CA that validates without looking."""
    return nullcontext()


class Plain:
    """The library as it comes: one client for each thread, one account for all."""

    def __init__(self, pebble: Pebble, setting: Setting = trusted) -> None:
        self._pebble = pebble
        self._setting = setting
        self._key = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        self._threads = threading.local()
        self._account: messages.RegistrationResource | None = None
        self._account = self._client().new_account(
            messages.NewRegistration.from_data(email="ops@knit.example", terms_of_service_agreed=True)
        )

    def issue(self, name: str) -> None:
        """One certificate with a fresh key, downloaded and parsed."""
        acme = self._client()
        acme.net.account = self._account
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        order = acme.new_order(crypto_util.make_csr(key, [name]))
        for authorization in order.authorizations:
            self._prove(acme, authorization, name)
        order = acme.begin_finalization(order)
        certificates.load_pem_x509_certificates(self._collect(acme, order).encode())

    def _prove(self, acme: client.ClientV2, authorization: messages.AuthorizationResource, name: str) -> None:
        body = next(c for c in authorization.body.challenges if isinstance(c.chall, challenges.DNS01))
        with self._setting(body.chall.validation_domain_name(name), body.chall.validation(self._key)):
            acme.answer_challenge(body, body.chall.response(self._key))
            wait = FIRST_WAIT
            while authorization.body.status != messages.STATUS_VALID:
                time.sleep(wait)
                authorization, _ = acme.poll(authorization)
                wait *= 2

    def _collect(self, acme: client.ClientV2, order: messages.OrderResource) -> str:
        wait = ISSUANCE_WAIT
        while True:
            time.sleep(wait)
            body = messages.Order.from_json(acme._post_as_get(order.uri).json())  # noqa: SLF001 - it has no public way
            if body.status == messages.STATUS_VALID:
                return str(acme._post_as_get(body.certificate).text)  # noqa: SLF001
            wait *= 2

    def _client(self) -> client.ClientV2:
        found: client.ClientV2 | None = getattr(self._threads, "client", None)
        if found is None:
            network = client.ClientNetwork(self._key, alg=josepy.ES256, verify_ssl=str(self._pebble.ca_file))  # type: ignore[arg-type]  # a path works
            directory = client.ClientV2.get_directory(self._pebble.directory_url, network)
            found = self._threads.client = client.ClientV2(directory, network)
        return found
