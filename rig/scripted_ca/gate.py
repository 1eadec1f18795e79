"""The chain of checks that every signed request passes before anything is done (RFC 8555 section 6)."""

from dataclasses import dataclass
from typing import Any

from rig.scripted_ca import jws
from rig.scripted_ca.authority import Authority
from rig.scripted_ca.book import Account
from rig.scripted_ca.http11 import Request
from rig.scripted_ca.problems import Kind, Refusal
from rig.scripted_ca.states import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request whose signature holds: by a known account, or by a key that the request itself brings."""

    url: str
    key: jws.PublicKey
    payload: bytes
    account: Account | None
    jwk: jws.Json | None

    @property
    def is_post_as_get(self) -> bool:
        return not self.payload

    def wish(self) -> dict[str, Any]:
        """Give the payload as a JSON object; raise Refusal when it is anything else."""
        return jws.json_object(self.payload)

    @property
    def owner(self) -> Account:
        """The account that signed; only for requests that were admitted by `kid`."""
        assert self.account is not None
        return self.account


def admitted(ca: Authority, request: Request, signer: str) -> Signed:
    """Check one POST; raise Refusal at the first thing that is wrong. `signer` is `kid`, `jwk` or `either`."""
    if request.headers.get("content-type", "").strip() != "application/jose+json":
        raise Refusal(Kind.MALFORMED, "Content-Type must be application/jose+json", status=415)
    read = jws.parse(request.body)
    if read.alg not in jws.ALGORITHMS:
        raise Refusal(Kind.BAD_SIGNATURE_ALGORITHM, "algorithm not offered", extra={"algorithms": [*jws.ALGORITHMS]})
    _spend_nonce(ca, read.nonce)
    if read.url not in (ca.base + request.path, ca.resources + request.path):
        raise Refusal(Kind.UNAUTHORIZED, "the signed url is not the url of the request")
    signed = _signed(ca, read, signer)
    jws.verify(read, signed.key)
    if signed.account is not None and signed.account.status is not Status.VALID:
        raise Refusal(Kind.UNAUTHORIZED, f"the account is {signed.account.status}", status=401)
    return signed


def _spend_nonce(ca: Authority, nonce: str) -> None:
    jws.unb64url(nonce)
    if not ca.nonces.spend(nonce) or ca.chance(ca.script.nonce_reject_percent):
        ca.ledger.total("nonces_refused")
        raise Refusal(Kind.BAD_NONCE, "the nonce is unknown or spent")


def _signed(ca: Authority, read: jws.Envelope, signer: str) -> Signed:
    given = {"jwk", "kid"} & set(read.protected)
    if len(given) != 1 or (signer != "either" and given != {signer}):
        raise Refusal(Kind.MALFORMED, f"wanted is exactly one of jwk and kid, here: {signer}")
    if given == {"kid"}:
        account = _account(ca, read.protected["kid"])
        return Signed(url=read.url, key=account.key, payload=read.payload, account=account, jwk=None)
    jwk = read.protected["jwk"]
    return Signed(url=read.url, key=jws.public_key(jwk), payload=read.payload, account=None, jwk=jwk)


def _account(ca: Authority, kid: object) -> Account:
    home, _, ident = kid.rpartition("/acct/") if isinstance(kid, str) else ("", "", "")
    account = ca.book.accounts.get(ident) if home in (ca.base, ca.resources) else None
    if account is None:
        raise Refusal(Kind.ACCOUNT_DOES_NOT_EXIST, "no account has this kid")
    return account
