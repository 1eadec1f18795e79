"""Certificates: download, revocation, renewal information (RFC 8555 sections 7.4.2 and 7.6, RFC 9773)."""

from dataclasses import replace

from cryptography import x509

from rig.scripted_ca import jws
from rig.scripted_ca.authority import Authority, instant, json_answer
from rig.scripted_ca.book import Certificate
from rig.scripted_ca.csr import spki
from rig.scripted_ca.gate import Signed
from rig.scripted_ca.http11 import Answer
from rig.scripted_ca.problems import Kind, Refusal

_REASONS = {0, 1, 3, 4, 5}


def download(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Give the default chain, with a link to the other one."""
    certificate = _own(ca, signed, ident)
    ca.ledger.count("downloaded", certificate.names)
    links = [("Link", f'<{ca.url("cert", ident, "1")}>;rel="alternate"')] if len(certificate.chains) > 1 else []
    return _chain(certificate.chains[0]).adding(*links)


def download_alternate(ca: Authority, signed: Signed, ident: str) -> Answer:
    """Give the chain to the other root."""
    certificate = _own(ca, signed, ident)
    if len(certificate.chains) == 1:
        raise Refusal(Kind.MALFORMED, "there is no alternate chain", status=404)
    return _chain(certificate.chains[1]).adding(("Link", f'<{ca.url("cert", ident)}>;rel="alternate"'))


def revoke(ca: Authority, signed: Signed, _ident: str) -> Answer:
    """Revoke for the account that ordered it, or for whoever holds the certificate's key."""
    wish = signed.wish()
    der = jws.unb64url(str(wish.get("certificate", "")))
    try:
        asked = x509.load_der_x509_certificate(der)
    except ValueError:
        raise Refusal(Kind.MALFORMED, "not a DER certificate") from None
    known = next((item for item in ca.book.certificates.values() if item.certificate == asked), None)
    if known is None:
        raise Refusal(Kind.MALFORMED, "the certificate is not from here", status=404)
    if wish.get("reason", 0) not in _REASONS:
        raise Refusal(Kind.BAD_REVOCATION_REASON, "this reason is not for subscribers")
    by_account = signed.account is not None and signed.account.id == known.account
    by_key = signed.account is None and spki(signed.key) == known.spki
    if not by_account and not by_key:
        raise Refusal(Kind.UNAUTHORIZED, "neither the account nor the key of this certificate")
    if known.revoked:
        raise Refusal(Kind.ALREADY_REVOKED, "the certificate is revoked already")
    ca.book.keep_certificate(replace(known, revoked=True))
    ca.ledger.count("revoked", known.names)
    return Answer()


def renewal_info(ca: Authority, ident: str) -> Answer:
    """Suggest when to renew (RFC 9773 section 4.2): scripted, else at two thirds of the life, or now when revoked."""
    known = ca.book.certificates.get(ca.book.certificate_by_renewal_id.get(ident, ""))
    if known is None or not ca.script.offers_ari:
        raise Refusal(Kind.MALFORMED, "no certificate has this id", status=404)
    behaviour = ca.script.behaviour(known.names)
    headers = (("Retry-After", behaviour.ari_retry_after),) if behaviour.ari_retry_after else ()
    return json_answer(behaviour.ari or {"suggestedWindow": _window(known)}, *headers)


def _window(known: Certificate) -> dict[str, str]:
    start, end = known.certificate.not_valid_before_utc, known.certificate.not_valid_after_utc
    life = end - start
    if known.revoked:
        return {"start": instant(start), "end": instant(start + life / 100)}
    return {"start": instant(start + life * 0.66), "end": instant(start + life * 0.68)}


def _own(ca: Authority, signed: Signed, ident: str) -> Certificate:
    certificate = ca.book.certificates.get(ident)
    if certificate is None:
        raise Refusal(Kind.MALFORMED, "no such certificate", status=404)
    if certificate.account != signed.owner.id:
        raise Refusal(Kind.UNAUTHORIZED, "the certificate is another account's")
    if not signed.is_post_as_get:
        raise Refusal(Kind.MALFORMED, "a certificate is read with an empty payload")
    return certificate


def _chain(pem: bytes) -> Answer:
    return Answer(body=pem, content_type="application/pem-certificate-chain")
