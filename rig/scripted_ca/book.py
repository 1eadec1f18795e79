"""What the CA remembers: records by id, nothing decided here. One thread of one event loop reads and writes it."""

import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rig.scripted_ca.jws import Json, PublicKey, b64url
from rig.scripted_ca.states import Authz, Order, Status

_NONCES_KEPT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account, known by the thumbprint of its key."""

    id: str
    jwk: Json
    key: PublicKey
    thumbprint: str
    contact: tuple[str, ...] = ()
    binding: Json | None = None
    status: Status = Status.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One issued certificate with the chains it is served with."""

    id: str
    account: str
    names: tuple[str, ...]
    certificate: x509.Certificate
    chains: tuple[bytes, ...]
    renewal_id: str
    revoked: bool = False

    @property
    def spki(self) -> bytes:
        return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fresh_id() -> str:
    """Give an id that no client can guess or compute, so that URLs must be taken from answers."""
    return secrets.token_urlsafe(12)


def renewal_id(certificate: x509.Certificate) -> str:
    """Give the certificate's id for renewal information (RFC 9773 section 4.1)."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = certificate.serial_number
    der = serial.to_bytes(serial.bit_length() // 8 + 1)
    return f"{b64url(authority.key_identifier or b'')}.{b64url(der)}"


class Book:
    """Every record, by id, with the second keys that requests look them up by."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.account_by_thumbprint: dict[str, str] = {}
        self.orders: dict[str, Order] = {}
        self.authzs: dict[str, Authz] = {}
        self.authz_of_challenge: dict[str, str] = {}
        self.valid_authz: dict[tuple[str, str, bool], str] = {}
        self.keys_to_certify: dict[str, PublicKey] = {}
        self.certificates: dict[str, Certificate] = {}
        self.certificate_by_renewal_id: dict[str, str] = {}
        self.replaced_by: dict[str, str] = {}

    def keep_account(self, account: Account) -> None:
        old = self.accounts.get(account.id)
        if old is not None and old.thumbprint != account.thumbprint:
            del self.account_by_thumbprint[old.thumbprint]
        self.accounts[account.id] = account
        self.account_by_thumbprint[account.thumbprint] = account.id

    def keep_order(self, order: Order) -> None:
        self.orders[order.id] = order
        if order.replaces is not None:
            self.replaced_by[order.replaces] = order.id

    def keep_authz(self, authz: Authz) -> None:
        self.authzs[authz.id] = authz
        for challenge in authz.challenges:
            self.authz_of_challenge[challenge.id] = authz.id
        if authz.status is Status.VALID:
            self.valid_authz[authz.account, authz.name, authz.wildcard] = authz.id

    def keep_certificate(self, certificate: Certificate) -> None:
        self.certificates[certificate.id] = certificate
        self.certificate_by_renewal_id[certificate.renewal_id] = certificate.id


class Nonces:
    """Nonces that are out; each counts once (RFC 8555 section 6.5)."""

    def __init__(self) -> None:
        self._out: dict[str, None] = {}

    def fresh(self) -> str:
        if len(self._out) >= _NONCES_KEPT:
            del self._out[next(iter(self._out))]
        nonce = fresh_id()
        self._out[nonce] = None
        return nonce

    def spend(self, nonce: str) -> bool:
        return self._out.pop(nonce, self) is None
