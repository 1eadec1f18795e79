"""Let's Encrypt's test CA, with its own TLS certificate, and counted from its own log."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from urllib.response import addinfourl

import trustme
from cryptography import x509

from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, RigError
from rig.wedge import Probe

ISSUED = re.compile(r"Issued certificate serial ([0-9a-f]+) for order (\S+)")
ORDERED = re.compile(r'Added order "([^"]+)" to the db')
FINALIZED = re.compile(r"Order (\S+) is fully authorized\. Processing finalization")
DEFAULT_VALIDITY = 90 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PebbleOptions:
    """How this Pebble behaves. Percentages are of good nonces and valid authorizations; validities are in seconds."""

    nonce_reject_percent: int = 5
    authz_reuse_percent: int = 0
    always_valid: bool = False
    sleep_seconds: int = 0
    """The longest random wait before a validation; 0 = none."""
    dns_server: str | None = None
    """host:port that answers for every name under validation."""
    validity: int = DEFAULT_VALIDITY
    short_validity: int = 6 * 24 * 3600
    """The lifetime of the profile `shortlived`."""
    eab_keys: tuple[tuple[str, str], ...] = ()
    """Pairs of key id and base64url HMAC key; any pair makes external account binding required."""
    blocked: tuple[str, ...] = ()
    """Names (with everything below) that are refused by policy."""
    retry_after_authz: int = 1
    retry_after_order: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One certificate the CA signed."""

    serial: str
    order: str
    names: frozenset[str]


class Pebble:
    """One CA. All its state is in memory: a restart is a new CA with new roots, no accounts and no orders.

    With more than a handful of orders in flight it can block for ever on its own locks: keep to four, and ask
    `raise_if_wedged` when something hangs.
    """

    def __init__(self, options: PebbleOptions | None = None) -> None:
        self.options = options or PebbleOptions()
        self.port, self.management_port = free_port(), free_port()
        self._home = temporary_directory("pebble")
        self.ca_file = self._home / "tls-root.pem"
        self.process = self._server()
        self._probe = Probe(self.directory_url, str(self.ca_file))
        self._names: dict[str, frozenset[str]] = {}

    @property
    def directory_url(self) -> str:
        """The ACME directory."""
        return f"https://127.0.0.1:{self.port}/dir"

    def start(self) -> None:
        """Run it until the directory and the management interface answer."""
        self.process.output.unlink(missing_ok=True)
        self._names.clear()
        self.process.start(self._answers)

    def stop(self) -> None:
        """End it; it has nothing to save."""
        self.process.kill()

    def restart(self) -> None:
        """Begin anew, at the same address, as another CA."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its directory."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def roots(self) -> str:
        """PEM of the root that issued chains end at."""
        return self._get("/roots/0").decode()

    def directory(self) -> dict[str, object]:
        """The directory document, to see what this Pebble can do (renewalInfo, profiles)."""
        with self._open(self.directory_url) as answer:
            document: dict[str, object] = json.load(answer)
        return document

    def orders(self) -> list[str]:
        """Ids of all orders made, finished or not."""
        return ORDERED.findall(self.process.text())

    def finalized(self) -> list[str]:
        """Ids of the orders whose finalization was taken: what rate limits and `one order per renewal` count."""
        return FINALIZED.findall(self.process.text())

    def issued(self) -> list[Issued]:
        """Every certificate signed, oldest first."""
        found = ISSUED.findall(self.process.text())
        return [Issued(serial=serial, order=order, names=self._names_of(serial)) for serial, order in found]

    def issued_count(self) -> Counter[frozenset[str]]:
        """How many certificates were signed for each exact set of names."""
        return Counter(certificate.names for certificate in self.issued())

    def set_renewal_info(self, certificate_pem: str, answer: str) -> None:
        """Have the CA give this text, sound or not, as the renewal information of one certificate."""
        body = json.dumps({"Certificate": certificate_pem, "ARIResponse": answer}).encode()
        with self._open(f"https://127.0.0.1:{self.management_port}/set-renewal-info/", body):
            pass

    def raise_if_wedged(self) -> None:
        """Raise CaWedgedError if the CA answers no signed request: then a failure is its own, not the product's."""
        self._probe.raise_if_wedged()

    def _names_of(self, serial: str) -> frozenset[str]:
        if serial not in self._names:
            status = json.loads(self._get(f"/cert-status-by-serial/{serial}"))
            certificate = x509.load_pem_x509_certificate(status["Certificate"].encode())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self._names[serial] = frozenset(names.get_values_for_type(x509.DNSName))
        return self._names[serial]

    def _answers(self) -> bool:
        try:
            self.directory()
            self.roots()
        except (OSError, RigError):
            return False
        return True

    def _get(self, path: str) -> bytes:
        with self._open(f"https://127.0.0.1:{self.management_port}{path}") as answer:
            body: bytes = answer.read()
        return body

    def _open(self, url: str, body: bytes | None = None) -> addinfourl:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            answer: addinfourl = urllib.request.urlopen(url, body, timeout=5, context=trust)
        except urllib.error.HTTPError as refused:
            message = f"Pebble answered {refused.code} for {url}"
            raise RigError(message) from None
        return answer

    def _server(self) -> Process:
        authority = trustme.CA()
        served = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate, key = self._home / "cert.pem", self._home / "key.pem"
        served.cert_chain_pems[0].write_to_path(str(certificate))
        served.private_key_pem.write_to_path(str(key))
        settings = self._home / "pebble.json"
        settings.write_text(json.dumps({"pebble": self._settings(str(certificate), str(key))}))
        resolver = [] if self.options.dns_server is None else ["-dnsserver", self.options.dns_server]
        return Process(
            name="pebble",
            command=[binaries.pebble().path("pebble"), "-config", str(settings), *resolver],
            output=self._home / "log",
            environment={**binaries.pebble().environment, **self._behaviour()},
        )

    def _settings(self, certificate: str, key: str) -> dict[str, object]:
        options = self.options
        return {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": certificate,
            "privateKey": key,
            "httpPort": free_port(),
            "tlsPort": free_port(),
            "externalAccountBindingRequired": bool(options.eab_keys),
            "externalAccountMACKeys": dict(options.eab_keys),
            "domainBlocklist": list(options.blocked),
            "retryAfter": {"authz": options.retry_after_authz, "order": options.retry_after_order},
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": {"description": "ordinary", "validityPeriod": options.validity},
                "shortlived": {"description": "short-lived", "validityPeriod": options.short_validity},
            },
            # Older releases know no profiles and take this instead.
            "certificateValidityPeriod": options.validity,
        }

    def _behaviour(self) -> dict[str, str]:
        options = self.options
        return {
            "PEBBLE_WFE_NONCEREJECT": str(options.nonce_reject_percent),
            "PEBBLE_AUTHZREUSE": str(options.authz_reuse_percent),
            "PEBBLE_VA_ALWAYS_VALID": str(int(options.always_valid)),
            "PEBBLE_VA_NOSLEEP": str(int(options.sleep_seconds == 0)),
            "PEBBLE_VA_SLEEPTIME": str(options.sleep_seconds),
        }
