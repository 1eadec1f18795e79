"""Whether a CA still answers signed requests: Pebble can block for ever while its directory goes on answering."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rig.process import RigError

STUCK_SECONDS = 5.0
NONCE_TRIES = 10
COORDINATE = 32


class CaWedgedError(RigError):
    """The CA hangs. Restart it and do not blame the product."""


class Probe:
    """Asks for an account that does not exist: the cheapest signed request that takes the CA's store lock."""

    def __init__(self, directory_url: str, ca_file: str) -> None:
        self._directory_url = directory_url
        self._ca_file = ca_file
        self._key = ec.generate_private_key(ec.SECP256R1())

    def raise_if_wedged(self) -> None:
        """Raise CaWedgedError when a signed request gets no answer within STUCK_SECONDS."""
        trust = ssl.create_default_context(cafile=self._ca_file)
        try:
            with urllib.request.urlopen(self._directory_url, timeout=STUCK_SECONDS, context=trust) as answer:
                directory = json.load(answer)
            for _ in range(NONCE_TRIES):
                if self._ask(directory, trust):
                    return
        except OSError as silence:
            message = f"the CA wedged: no answer to a signed request within {STUCK_SECONDS:g} s ({silence})"
            raise CaWedgedError(message) from silence

    def _ask(self, directory: dict[str, str], trust: ssl.SSLContext) -> bool:
        with urllib.request.urlopen(directory["newNonce"], timeout=STUCK_SECONDS, context=trust) as answer:
            nonce = answer.headers["Replay-Nonce"]
        request = urllib.request.Request(directory["newAccount"], self._signed(directory["newAccount"], nonce))
        request.add_header("Content-Type", "application/jose+json")
        try:
            with urllib.request.urlopen(request, timeout=STUCK_SECONDS, context=trust):
                return True
        except urllib.error.HTTPError as refused:
            return not json.load(refused).get("type", "").endswith(":badNonce")

    def _signed(self, url: str, nonce: str) -> bytes:
        point = self._key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": _number(point.x), "y": _number(point.y)}
        protected = _text(json.dumps({"alg": "ES256", "jwk": jwk, "nonce": nonce, "url": url}).encode())
        payload = _text(b'{"onlyReturnExisting": true}')
        der = self._key.sign(f"{protected}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        signature = _text(r.to_bytes(COORDINATE, "big") + s.to_bytes(COORDINATE, "big"))
        return json.dumps({"protected": protected, "payload": payload, "signature": signature}).encode()


def _number(value: int) -> str:
    return _text(value.to_bytes(COORDINATE, "big"))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
