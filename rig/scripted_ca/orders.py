"""Orders: new, read, finalize (RFC 8555 section 7.4, RFC 9773 section 5)."""

from datetime import timedelta
from typing import Any

from rig.scripted_ca import csr, identifiers, jws, states, variants
from rig.scripted_ca.authority import Authority, instant, json_answer
from rig.scripted_ca.authorizations import authz_for, current
from rig.scripted_ca.book import Account, Certificate, fresh_id, renewal_id
from rig.scripted_ca.gate import Signed
from rig.scripted_ca.http11 import Answer
from rig.scripted_ca.problems import Kind, Refusal
from rig.scripted_ca.script import DAY_S
from rig.scripted_ca.states import Order, Status


def create(ca: Authority, signed: Signed, _ident: str) -> Answer:
    """newOrder."""
    wish, account = signed.wish(), signed.owner
    names = identifiers.names(wish.get("identifiers"))
    if "notBefore" in wish or "notAfter" in wish:
        raise Refusal(Kind.MALFORMED, "notBefore and notAfter are not supported")
    order = Order(
        id=fresh_id(),
        account=account.id,
        names=names,
        authzs=tuple(authz_for(ca, account, name, names).id for name in names),
        expires=ca.now() + timedelta(seconds=ca.script.order_life_s),
        profile=_profile(ca, wish),
        replaces=_replaced(ca, account, wish, names),
    )
    ca.book.keep_order(order)
    ca.ledger.count("orders", names)
    if order.replaces is not None:
        ca.ledger.count("replacing", names)
    return _shown(ca, _looked_at(ca, order), status=201)


def read(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Show an order. Reading is what moves an order that the script keeps in `processing`."""
    order = _own(ca, signed, ident)
    if not signed.is_post_as_get:
        raise Refusal(Kind.MALFORMED, "an order is read with an empty payload")
    return _shown(ca, _settled(ca, _looked_at(ca, order)))


def finalize(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Take the certificate request. A bad one leaves the order ready (section 7.4)."""
    order = _looked_at(ca, _own(ca, signed, ident))
    behaviour = ca.script.behaviour(order.names)
    begun = states.finalizing(order, behaviour.processing_polls)
    request = signed.wish().get("csr")
    if not isinstance(request, str):
        raise Refusal(Kind.MALFORMED, "csr must be a string")
    key = csr.accepted(jws.unb64url(request), order.names, signed.owner.key, ca.script.key_types)
    ca.book.keys_to_certify[order.id] = key
    ca.book.keep_order(begun)
    ca.ledger.count("finalized", order.names)
    return _shown(ca, _settled(ca, begun))


def _looked_at(ca: Authority, order: Order) -> Order:
    advanced = states.advanced(order, [current(ca, item) for item in order.authzs], ca.now())
    if advanced is not order:
        ca.book.keep_order(advanced)
    return advanced


def _settled(ca: Authority, order: Order) -> Order:
    if order.status is not Status.PROCESSING:
        return order
    problem = ca.script.behaviour(order.names).order_problem
    if order.polls_left:
        settled = states.polled(order)
    elif problem is not None:
        settled = states.failed(order, problem)
    else:
        settled = states.issued(order, _certify(ca, order).id)
    ca.book.keep_order(settled)
    return settled


def _certify(ca: Authority, order: Order) -> Certificate:
    behaviour = ca.script.behaviour(order.names)
    profile = ca.script.profiles.get(order.profile or "")
    validity_s = behaviour.validity_s or (profile.validity_s if profile else 90 * DAY_S)
    leaf = variants.Leaf.now(ca.book.keys_to_certify.pop(order.id), order.names, ca.now(), validity_s)
    made = variants.issued(leaf, behaviour.certificate, ca.tree)
    certificate = Certificate(
        id=fresh_id(),
        account=order.account,
        names=order.names,
        certificate=made.certificate,
        chains=made.chains,
        renewal_id=renewal_id(made.certificate),
    )
    ca.book.keep_certificate(certificate)
    ca.ledger.count("issued", order.names)
    return certificate


def _own(ca: Authority, signed: Signed, ident: str) -> Order:
    order = ca.book.orders.get(ident)
    if order is None:
        raise Refusal(Kind.MALFORMED, "no such order", status=404)
    if order.account != signed.owner.id:
        raise Refusal(Kind.UNAUTHORIZED, "the order is another account's")
    return order


def _profile(ca: Authority, wish: dict[str, Any]) -> str | None:
    profile = wish.get("profile")
    if profile is None:
        return next(iter(ca.script.profiles), None)
    if profile not in ca.script.profiles:
        raise Refusal(Kind.INVALID_PROFILE, "the directory does not list this profile")
    return str(profile)


def _replaced(ca: Authority, account: Account, wish: dict[str, Any], names: tuple[str, ...]) -> str | None:
    replaces = wish.get("replaces")
    if replaces is None:
        return None
    old = ca.book.certificates.get(ca.book.certificate_by_renewal_id.get(str(replaces), ""))
    if old is None:
        raise Refusal(Kind.MALFORMED, "no certificate has the id that is replaced", status=404)
    if old.account != account.id or set(old.names).isdisjoint(names):
        raise Refusal(Kind.UNAUTHORIZED, "the replaced certificate is another account's, or shares no name")
    by = ca.book.replaced_by.get(old.renewal_id)
    if by is not None and _looked_at(ca, ca.book.orders[by]).status is not Status.INVALID:
        raise Refusal(Kind.ALREADY_REPLACED, "another order replaces this certificate")
    return old.renewal_id


def _shown(ca: Authority, order: Order, *, status: int = 200) -> Answer:
    optional = {
        "profile": order.profile,
        "replaces": order.replaces,
        "error": order.error,
        "certificate": ca.url("cert", order.certificate) if order.certificate else None,
    }
    shown = {
        "status": order.status,
        "expires": instant(order.expires),
        "identifiers": [{"type": "dns", "value": name} for name in order.names],
        "authorizations": [ca.url("authz", item) for item in order.authzs],
        "finalize": ca.url("order", order.id, "finalize"),
        **{name: value for name, value in optional.items() if value is not None},
    }
    if ca.script.behaviour(order.names).sparse:
        shown |= _sparse(order, shown)
    wait = ca.script.behaviour(order.names).retry_after
    headers = (("Retry-After", wait),) if wait and order.status is Status.PROCESSING else ()
    return json_answer(shown, ("Location", ca.url("order", order.id)), *headers, status=status)


def _sparse(order: Order, shown: dict[str, Any]) -> dict[str, Any]:
    """What a client need not read now, in ways that real CAs leave it out."""
    idle: dict[str, Any] = {"expires": None, "identifiers": None, "error": None}
    if order.status is not Status.PENDING:
        idle["authorizations"] = None
    if order.status is not Status.READY:
        idle["finalize"] = ""
    return idle if "certificate" in shown else {**idle, "certificate": ""}
