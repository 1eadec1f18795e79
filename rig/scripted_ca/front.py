"""From a request to an answer: which resource, which fault, which delay, and the headers that every answer has."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from rig.scripted_ca import accounts, authorizations, certificates, gate, jws, orders
from rig.scripted_ca.authority import Authority, json_answer
from rig.scripted_ca.http11 import Answer, Request
from rig.scripted_ca.ledger import Entry, name_set
from rig.scripted_ca.problems import Kind, Refusal, document
from rig.scripted_ca.script import Fault

_log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Authority, gate.Signed, str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of URL. `signer` is None for what anybody may GET; `handler` is None for what `_open` answers."""

    kind: str
    signer: str | None = None
    handler: Handler | None = None


# By the first and the third segment of the path; the second one is the record's id.
_RESOURCES = {
    ("directory", ""): Resource(kind="directory"),
    ("terms", ""): Resource(kind="terms"),
    ("new-nonce", ""): Resource(kind="newNonce"),
    ("renewal-info", ""): Resource(kind="renewalInfo"),
    ("new-account", ""): Resource(kind="newAccount", signer="jwk", handler=accounts.register),
    ("key-change", ""): Resource(kind="keyChange", signer="kid", handler=accounts.change_key),
    ("acct", ""): Resource(kind="account", signer="kid", handler=accounts.update),
    ("acct", "orders"): Resource(kind="orders", signer="kid", handler=accounts.orders),
    ("new-order", ""): Resource(kind="newOrder", signer="kid", handler=orders.create),
    ("order", ""): Resource(kind="order", signer="kid", handler=orders.read),
    ("order", "finalize"): Resource(kind="finalize", signer="kid", handler=orders.finalize),
    ("authz", ""): Resource(kind="authz", signer="kid", handler=authorizations.read),
    ("chall", ""): Resource(kind="challenge", signer="kid", handler=authorizations.answer),
    ("cert", ""): Resource(kind="certificate", signer="kid", handler=certificates.download),
    ("cert", "1"): Resource(kind="certificate", signer="kid", handler=certificates.download_alternate),
    ("revoke-cert", ""): Resource(kind="revokeCert", signer="either", handler=certificates.revoke),
}
_NOWHERE = Resource(kind="unknown")


class Front:
    """Answers requests for one Authority."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca

    async def __call__(self, request: Request) -> Answer:
        ca, (resource, ident) = self._ca, _found(request.path)
        number, at = ca.ledger.arrived(resource.kind), ca.now().timestamp()
        names = _names(ca, resource.kind, ident, request)
        answer = self._faulty(request, resource, ident, names)
        entry = Entry(
            order=number,
            at=at,
            method=request.method,
            kind=resource.kind,
            path=request.path,
            names=name_set(names),
            status=0 if answer.reset else answer.status,
            user_agent=request.headers.get("user-agent", ""),
        )
        ca.ledger.enter(entry)
        try:
            delay_s = ca.script.delay_s(resource.kind)
            if delay_s:
                await asyncio.sleep(delay_s)
        finally:
            ca.ledger.answered()
        return _carried(answer, ca.script.http)

    def _faulty(self, request: Request, resource: Resource, ident: str, names: tuple[str, ...]) -> Answer:
        fault = self._ca.faults.strike(resource.kind, names)
        if fault is None:
            return self._true(request, resource, ident)
        if fault.when == "before" and fault.act not in ("drip", "huge"):
            # What stands before a CA and refuses, a load balancer for one, knows nothing of nonces.
            nonce = self._nonce() if fault.act == "problem" else ()
            return _bent(fault, Answer()).adding(*nonce)
        return _bent(fault, self._true(request, resource, ident))

    def _true(self, request: Request, resource: Resource, ident: str) -> Answer:
        ca = self._ca
        try:
            answer = _answered(ca, request, resource, ident)
        except Refusal as refusal:
            answer = _problem(refusal.document, refusal.status, refusal.headers)
        except Exception:  # noqa: BLE001 -- the edge of the process: a bug here must not look like the client's
            _log.exception("bug", extra={"kind": resource.kind})
            ca.ledger.total("bugs")
            answer = _problem(document(Kind.SERVER_INTERNAL, "a bug of this CA", 500), 500, ())
        if resource.kind != "directory":
            answer = answer.adding(("Link", f'<{ca.url("directory")}>;rel="index"'))
        if request.method == "POST" or resource.kind == "newNonce":
            answer = answer.adding(*self._nonce())
        return answer

    def _nonce(self) -> tuple[tuple[str, str], ...]:
        self._ca.ledger.total("nonces")
        return (("Replay-Nonce", self._ca.nonces.fresh()), ("Cache-Control", "no-store"))


def _answered(ca: Authority, request: Request, resource: Resource, ident: str) -> Answer:
    if not request.headers.get("user-agent"):
        raise Refusal(Kind.MALFORMED, "a client must send User-Agent (RFC 8555 section 6.1)")
    if resource is _NOWHERE:
        raise Refusal(Kind.MALFORMED, "no such resource", status=404)
    if resource.handler is None or resource.signer is None:
        return _open(ca, request, resource, ident)
    if request.method != "POST":
        raise Refusal(Kind.MALFORMED, "this resource is read with POST", status=405, headers=(("Allow", "POST"),))
    return resource.handler(ca, gate.admitted(ca, request, resource.signer), ident)


def _open(ca: Authority, request: Request, resource: Resource, ident: str) -> Answer:
    if request.method not in ("GET", "HEAD"):
        raise Refusal(Kind.MALFORMED, "this resource is read with GET", status=405, headers=(("Allow", "GET, HEAD"),))
    if resource.kind == "newNonce":
        return Answer(status=200 if request.method == "HEAD" else 204)
    if resource.kind == "renewalInfo":
        return certificates.renewal_info(ca, ident)
    if resource.kind == "terms":
        return Answer(body=b"Agree, and script.\n", content_type="text/plain")
    return json_answer(_directory(ca))


def _directory(ca: Authority) -> dict[str, Any]:
    meta: dict[str, Any] = {"termsOfService": ca.url("terms"), "website": ca.base}
    if ca.script.eab:
        meta["externalAccountRequired"] = True
    if ca.script.caa_identities:
        meta["caaIdentities"] = list(ca.script.caa_identities)
    if ca.script.profiles:
        meta["profiles"] = {name: profile.description for name, profile in ca.script.profiles.items()}
    directory: dict[str, Any] = {
        "newNonce": ca.url("new-nonce"),
        "newAccount": ca.url("new-account"),
        "newOrder": ca.url("new-order"),
        "revokeCert": ca.url("revoke-cert"),
        "meta": meta,
    } | ({"keyChange": ca.url("key-change")} if ca.script.changes_keys else {})
    if ca.script.default.sparse:
        directory |= {"meta": 5, "revokeCert": None, "keyChange": [], "newAuthz": 7}
    return directory | ({"renewalInfo": ca.url("renewal-info")} if ca.script.offers_ari else {})


def _found(path: str) -> tuple[Resource, str]:
    first, ident, third = [*path.removeprefix("/").split("/", 2), "", ""][:3]
    return _RESOURCES.get((first, third), _NOWHERE), ident


def _names(ca: Authority, kind: str, ident: str, request: Request) -> tuple[str, ...]:
    """Say which order's names a request is about, believed unchecked: only faults and the journal use it."""
    book = ca.book
    if kind in ("order", "finalize"):
        return book.orders[ident].names if ident in book.orders else ()
    if kind in ("authz", "challenge"):
        authz = book.authzs.get(book.authz_of_challenge.get(ident, "") if kind == "challenge" else ident)
        return authz.order_names if authz else ()
    if kind == "renewalInfo":
        ident = book.certificate_by_renewal_id.get(ident, "")
    if kind in ("certificate", "renewalInfo"):
        return book.certificates[ident].names if ident in book.certificates else ()
    return _names_wanted(request) if kind == "newOrder" else ()


def _names_wanted(request: Request) -> tuple[str, ...]:
    try:
        wanted = jws.json_object(jws.parse(request.body).payload).get("identifiers")
    except Refusal:
        return ()
    items = wanted if isinstance(wanted, list) else []
    return tuple(str(item.get("value")) for item in items if isinstance(item, dict))


def _problem(body: dict[str, Any], status: int, headers: tuple[tuple[str, str], ...]) -> Answer:
    return replace(json_answer(body, *headers, status=status), content_type="application/problem+json")


def _carried(answer: Answer, http: str) -> Answer:
    if http == "1.0":
        return replace(answer, version="1.0")
    if http == "close":
        return replace(answer, ends=True).adding(("Connection", "Close"))
    return replace(answer, ends=http == "ends")


def _bent(fault: Fault, answer: Answer) -> Answer:
    headers = tuple(fault.headers.items())
    if fault.act == "reset":
        return Answer(reset=True)
    if fault.act == "flood":
        return replace(answer, flood=fault.flood)
    if fault.act == "problem":
        status = fault.status or 500
        return _problem(document(fault.type, fault.detail, status), status, headers)
    if fault.act == "drip":
        return replace(answer, drip_s=fault.seconds).adding(*headers)
    if fault.act == "huge":
        return replace(answer, body=answer.body.ljust(fault.size)).adding(*headers)
    return replace(
        answer,
        status=fault.status or answer.status,
        body=answer.body if fault.body is None else fault.body.encode(),
        content_type=fault.content_type or answer.content_type,
    ).adding(*headers)
