"""Authorizations and challenges (RFC 8555 sections 7.1.4, 7.5, 8)."""

import asyncio
import base64
import hashlib
import secrets
from datetime import timedelta
from typing import Any

from rig.scripted_ca import states
from rig.scripted_ca.authority import Authority, instant, json_answer
from rig.scripted_ca.book import Account, fresh_id
from rig.scripted_ca.gate import Signed
from rig.scripted_ca.http11 import Answer
from rig.scripted_ca.problems import Kind, Refusal, document
from rig.scripted_ca.states import Authz, Challenge, Status
from rig.scripted_ca.txt import LookupFailed, txt_values

_validations: set[asyncio.Task[None]] = set()


def authz_for(ca: Authority, account: Account, wanted: str, order_names: tuple[str, ...]) -> Authz:
    """Give a valid authorization again, as often as the script's dice say, else a new one."""
    wildcard, name = wanted.startswith("*."), wanted.removeprefix("*.")
    known = ca.book.valid_authz.get((account.id, name, wildcard))
    if known is not None and current(ca, known).status is Status.VALID and ca.chance(ca.script.authz_reuse_percent):
        return ca.book.authzs[known]
    types = ("dns-01",) if wildcard else ("dns-01", "http-01")
    token = secrets.token_urlsafe(32)
    authz = Authz(
        id=fresh_id(),
        account=account.id,
        name=name,
        wildcard=wildcard,
        expires=ca.now() + timedelta(seconds=ca.script.authz_life_s),
        order_names=order_names,
        challenges=tuple(Challenge(id=fresh_id(), type=kind, token=token) for kind in types),
    )
    ca.book.keep_authz(authz)
    return authz


def current(ca: Authority, ident: str) -> Authz:
    """Give an authorization as it is at this moment."""
    authz = ca.book.authzs[ident]
    aged = states.aged(authz, ca.now())
    if aged is not authz:
        ca.book.keep_authz(aged)
    return aged


def read(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Show an authorization, or deactivate it (section 7.5.2)."""
    authz = _own(ca, signed, ident)
    if not signed.is_post_as_get:
        if signed.wish().get("status") != Status.DEACTIVATED:
            raise Refusal(Kind.MALFORMED, "an authorization can only be set to deactivated")
        authz = states.deactivated(authz)
        ca.book.keep_authz(authz)
    behaviour = ca.script.behaviour(_scripted_names(authz))
    optional = {"wildcard": True} if authz.wildcard and not behaviour.keeps_wildcard else {}
    shown = {
        "status": authz.status,
        "expires": instant(authz.expires),
        "identifier": {"type": "dns", "value": "*." * (authz.wildcard and behaviour.keeps_wildcard) + authz.name},
        "challenges": [_challenge(ca, item) for item in authz.challenges],
        **optional,
    }
    if behaviour.sparse and authz.status is Status.VALID:
        nonsense = {"challenges": [{"type": "dns-01"}, 7], "identifier": None, "expires": 0}
        shown = {"status": authz.status} if authz.wildcard else shown | nonsense
    return json_answer(shown, *_wait(ca, authz, pending=authz.status is Status.PENDING))


def answer(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Show a challenge, or begin to validate it. An answer while it is processing changes nothing (section 8.2)."""
    authz = _own(ca, signed, ca.book.authz_of_challenge.get(ident, ""))
    challenge = authz.challenge(ident)
    if challenge is None:
        raise Refusal(Kind.MALFORMED, "the challenge is gone", status=404)
    if not signed.is_post_as_get and challenge.status is not Status.PROCESSING:
        signed.wish()
        ca.book.keep_authz(states.attempted(authz, ident))
        ca.ledger.count("challenges", authz.order_names)
        _validate(ca, authz.id, challenge)
    authz = current(ca, authz.id)
    challenge = authz.challenge(ident) or challenge
    up = ("Link", f'<{ca.url("authz", authz.id)}>;rel="up"')
    return json_answer(_challenge(ca, challenge), up, *_wait(ca, authz, pending=authz.status is Status.PENDING))


def _validate(ca: Authority, authz_id: str, challenge: Challenge) -> None:
    behaviour = ca.script.behaviour(_scripted_names(ca.book.authzs[authz_id]))
    if behaviour.validation == "never":
        return
    if behaviour.validation == "always" and not behaviour.validation_delay_ms:
        _settle(ca, authz_id, challenge, behaviour.authz_problem)
        return
    task = asyncio.create_task(_validate_later(ca, authz_id, challenge))
    # The loop itself keeps only weak references to tasks.
    _validations.add(task)
    task.add_done_callback(_validations.discard)


async def _validate_later(ca: Authority, authz_id: str, challenge: Challenge) -> None:
    authz = ca.book.authzs[authz_id]
    behaviour = ca.script.behaviour(_scripted_names(authz))
    await asyncio.sleep(behaviour.validation_delay_ms / 1000)
    problem = behaviour.authz_problem
    if problem is None and behaviour.validation == "dns":
        problem = await _dns_problem(ca, authz, challenge)
    _settle(ca, authz_id, challenge, problem)


async def _dns_problem(ca: Authority, authz: Authz, challenge: Challenge) -> dict[str, Any] | None:
    if challenge.type != "dns-01":
        return document(Kind.CONNECTION, "this CA connects to nobody; use dns-01", 400)
    thumbprint = ca.book.accounts[authz.account].thumbprint
    digest = hashlib.sha256(f"{challenge.token}.{thumbprint}".encode()).digest()
    wanted = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    name = f"_acme-challenge.{authz.name}"
    try:
        values = await txt_values(ca.script.dns_server, name)
    except LookupFailed as failure:
        return document(Kind.DNS, f"DNS problem: {failure} looking up TXT for {name}", 400)
    if wanted in values:
        return None
    detail = (
        f"{len(values)} TXT values at {name}, none of them the right one"
        if values
        else f"No TXT record found at {name}"
    )
    return document(Kind.UNAUTHORIZED, detail, 403)


def _settle(ca: Authority, authz_id: str, challenge: Challenge, problem: dict[str, Any] | None) -> None:
    authz = ca.book.authzs[authz_id]
    if problem is None:
        ca.book.keep_authz(states.proved(authz, challenge.id, ca.now()))
        return
    ca.ledger.count("failed_authzs", authz.order_names)
    ca.book.keep_authz(states.disproved(authz, challenge.id, problem))


def _scripted_names(authz: Authz) -> tuple[str, ...]:
    return (f"*.{authz.name}" if authz.wildcard else authz.name,)


def _own(ca: Authority, signed: Signed, ident: str) -> Authz:
    if ident not in ca.book.authzs:
        raise Refusal(Kind.MALFORMED, "no such authorization or challenge", status=404)
    authz = current(ca, ident)
    if authz.account != signed.owner.id:
        raise Refusal(Kind.UNAUTHORIZED, "the authorization is another account's")
    return authz


def _challenge(ca: Authority, challenge: Challenge) -> dict[str, Any]:
    shown = {
        "type": challenge.type,
        "url": ca.url("chall", challenge.id),
        "status": challenge.status,
        "token": challenge.token,
    }
    if challenge.validated:
        shown["validated"] = instant(challenge.validated)
    return shown | ({"error": challenge.error} if challenge.error else {})


def _wait(ca: Authority, authz: Authz, *, pending: bool) -> tuple[tuple[str, str], ...]:
    wait = ca.script.behaviour(_scripted_names(authz)).retry_after
    return (("Retry-After", wait),) if wait and pending else ()
