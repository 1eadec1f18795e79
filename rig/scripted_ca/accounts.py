"""Accounts: registration, binding, update, change of key, deactivation (RFC 8555 sections 7.3)."""

from dataclasses import replace
from typing import Any

from rig.scripted_ca import jws
from rig.scripted_ca.authority import Authority, json_answer
from rig.scripted_ca.book import Account, fresh_id
from rig.scripted_ca.csr import spki
from rig.scripted_ca.gate import Signed
from rig.scripted_ca.http11 import Answer
from rig.scripted_ca.problems import Kind, Refusal
from rig.scripted_ca.states import Status


def register(ca: Authority, signed: Signed, _ident: str) -> Answer:
    """newAccount. A known key gets its account back with 200, whatever else was asked (section 7.3.1).

    But for a binding, which some CAs take once.
    """
    wish, jwk = signed.wish(), signed.jwk
    assert jwk is not None
    thumbprint = jws.thumbprint(jwk)
    known = ca.book.account_by_thumbprint.get(thumbprint)
    if known is not None:
        account = ca.book.accounts[known]
        if account.status is not Status.VALID:
            raise Refusal(Kind.UNAUTHORIZED, f"the account is {account.status}", status=403)
        if account.binding is not None and wish.get("externalAccountBinding") is not None:
            raise Refusal(Kind.MALFORMED, "the key id of the external account has been used")
        return _shown(ca, account, located=True)
    if wish.get("onlyReturnExisting") is True:
        raise Refusal(Kind.ACCOUNT_DOES_NOT_EXIST, "no account has this key")
    if wish.get("termsOfServiceAgreed") is not True:
        raise Refusal(Kind.USER_ACTION_REQUIRED, "the terms of service must be agreed to")
    account = Account(
        id=fresh_id(),
        jwk=jwk,
        key=signed.key,
        thumbprint=thumbprint,
        contact=_contact(wish),
        binding=_binding(ca, signed, wish),
    )
    ca.book.keep_account(account)
    ca.ledger.total("accounts")
    return _shown(ca, account, located=True, status=201)


def update(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Read, change the contact of, or deactivate an account (sections 7.3.2 and 7.3.6)."""
    account = _own(signed, ident)
    if signed.is_post_as_get:
        return _shown(ca, account)
    wish = signed.wish()
    if "contact" in wish:
        account = replace(account, contact=_contact(wish))
    if wish.get("status") == Status.DEACTIVATED:
        account = replace(account, status=Status.DEACTIVATED)
    elif "status" in wish:
        raise Refusal(Kind.MALFORMED, "an account can only be set to deactivated")
    ca.book.keep_account(account)
    return _shown(ca, account)


def orders(ca: Authority, signed: Signed, ident: str) -> Answer:
    """List the account's orders that are not invalid (section 7.1.2.1)."""
    account = _own(signed, ident)
    open_orders = (item for item in ca.book.orders.values() if item.account == account.id)
    return json_answer(
        {"orders": [ca.url("order", item.id) for item in open_orders if item.status is not Status.INVALID]}
    )


def change_key(ca: Authority, signed: Signed, _ident: str) -> Answer:
    """keyChange: the inner request is signed by the new key and names the old one (section 7.3.5)."""
    inner = jws.envelope(signed.wish())
    jwk = inner.protected.get("jwk")
    key = jws.public_key(jwk)
    assert isinstance(jwk, dict)
    if "nonce" in inner.protected or "kid" in inner.protected or inner.url != signed.url:
        raise Refusal(Kind.MALFORMED, "the inner request has jwk, the same url, and no nonce")
    jws.verify(inner, key)
    wish = jws.json_object(inner.payload)
    account = signed.owner
    if wish.get("account") != ca.url("acct", account.id) or spki(jws.public_key(wish.get("oldKey"))) != spki(
        account.key
    ):
        raise Refusal(Kind.MALFORMED, "account and oldKey must be those of the signer")
    thumbprint = jws.thumbprint(jwk)
    taken = ca.book.account_by_thumbprint.get(thumbprint)
    if taken is not None:
        location = ("Location", ca.url("acct", taken))
        raise Refusal(Kind.MALFORMED, "an account has the new key already", status=409, headers=(location,))
    account = replace(account, jwk=jwk, key=key, thumbprint=thumbprint)
    ca.book.keep_account(account)
    ca.ledger.total("key_changes")
    return _shown(ca, account)


def _own(signed: Signed, ident: str) -> Account:
    if signed.owner.id != ident:
        raise Refusal(Kind.UNAUTHORIZED, "this is another account")
    return signed.owner


def _contact(wish: dict[str, Any]) -> tuple[str, ...]:
    contact = wish.get("contact", [])
    if not isinstance(contact, list) or not all(isinstance(item, str) for item in contact):
        raise Refusal(Kind.MALFORMED, "contact must be a list of URLs")
    if any(not item.startswith("mailto:") for item in contact):
        raise Refusal(Kind.UNSUPPORTED_CONTACT, "only mailto: contacts are supported")
    if any(item.count("@") != 1 or "," in item or "?" in item for item in contact):
        raise Refusal(Kind.INVALID_CONTACT, "a mailto: contact has exactly one address and no fields")
    return tuple(contact)


def _binding(ca: Authority, signed: Signed, wish: dict[str, Any]) -> jws.Json | None:
    binding = wish.get("externalAccountBinding")
    if binding is None and ca.script.eab:
        raise Refusal(Kind.EXTERNAL_ACCOUNT_REQUIRED, "new accounts must be bound to an external account")
    if binding is None or not ca.script.eab:
        return None
    if not isinstance(binding, dict):
        raise Refusal(Kind.MALFORMED, "a binding is a JWS")
    inner = jws.envelope(binding)
    if "nonce" in inner.protected or inner.url != signed.url or jws.json_object(inner.payload) != signed.jwk:
        raise Refusal(Kind.MALFORMED, "a binding has the same url, no nonce, and the account key as its payload")
    mac_key = ca.script.eab.get(str(inner.protected.get("kid")))
    if mac_key is None:
        raise Refusal(Kind.UNAUTHORIZED, "no external account has this key id")
    jws.verify_mac(inner, jws.unb64url(mac_key))
    return binding


def _shown(ca: Authority, account: Account, *, located: bool = False, status: int = 200) -> Answer:
    shown: dict[str, Any] = {
        "status": account.status,
        "contact": list(account.contact),
        "termsOfServiceAgreed": True,
        "orders": ca.url("acct", account.id, "orders"),
    }
    if account.binding is not None:
        shown["externalAccountBinding"] = account.binding
    headers = (("Location", ca.url("acct", account.id)),) if located else ()
    return json_answer(shown, *headers, status=status)
