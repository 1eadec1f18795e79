"""The scripted ACME server, driven by the real `acme` library."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
import requests
from acme import challenges, client, crypto_util, messages
from acme import errors as acme_errors
from acme.client import _renewal_info_path_component
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy import ES256, JWKEC, JWKRSA

from rig.scripted_ca import ScriptedCA, ScriptRefused
from rig.scripted_ca.jws import b64url

NAMES = ("a.example.com", "b.example.com", "*.example.com")


class Subscriber:
    """A client of the CA with an account, or without one yet."""

    def __init__(self, ca: ScriptedCA, *, registered: bool = True) -> None:
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.key = JWKEC(key=self.private_key)
        self.net = client.ClientNetwork(self.key, alg=ES256, verify_ssl=str(ca.ca_file))  # type: ignore[arg-type]
        self.directory = client.ClientV2.get_directory(ca.directory_url, self.net)
        self.acme = client.ClientV2(self.directory, self.net)
        if registered:
            self.register()

    @property
    def uri(self) -> str:
        """Where the account is; its `kid`."""
        assert self.net.account is not None
        assert self.net.account.uri is not None
        return self.net.account.uri

    def register(self, **fields: Any) -> messages.RegistrationResource:
        wish = messages.NewRegistration.from_data(email="ops@example.com", terms_of_service_agreed=True, **fields)
        return self.acme.new_account(wish)

    def order(self, *names: str, profile: str | None = None) -> messages.OrderResource:
        return self.acme.new_order(csr_pem(*names), profile=profile)

    def prove(self, order: messages.OrderResource) -> None:
        for authz in order.authorizations:
            if authz.body.status != messages.STATUS_VALID:
                chall = next(item for item in authz.body.challenges if isinstance(item.chall, challenges.DNS01))
                self.acme.answer_challenge(chall, chall.chall.response(self.key))

    def issue(self, *names: str, profile: str | None = None) -> messages.OrderResource:
        order = self.order(*names, profile=profile)
        self.prove(order)
        return self.acme.finalize_order(order, in_seconds(20), fetch_alternative_chains=True)

    def ready(self, *names: str) -> messages.OrderResource:
        order = self.order(*names)
        self.prove(order)
        return order

    def post(self, url: str, payload: Any, /, **changes: Any) -> requests.Response:
        """Sign and send, with any part of the request replaced by something wrong."""
        body = self.signed(url, payload, **changes)
        return self.send(url, body)

    def signed(self, url: str, payload: Any, /, **changes: Any) -> dict[str, str]:
        header = {"alg": "ES256", "nonce": self.nonce(), "url": url, "kid": self.uri} | changes
        header = {name: value for name, value in header.items() if value is not None}
        text = b"" if payload is None else json.dumps(payload).encode()
        protected, shown = b64url(json.dumps(header).encode()), b64url(text)
        signature = ES256.sign(self.key.key, f"{protected}.{shown}".encode())
        return {"protected": protected, "payload": shown, "signature": b64url(signature)}

    def send(self, url: str, body: dict[str, str], content_type: str = "application/jose+json") -> requests.Response:
        return self.net.session.post(
            url, data=json.dumps(body), headers={"Content-Type": content_type}, verify=self.net.verify_ssl, timeout=20
        )

    def nonce(self) -> str:
        answer = self.net.session.head(self.directory["newNonce"], verify=self.net.verify_ssl, timeout=20)
        return answer.headers["Replay-Nonce"]


@pytest.fixture
def subscriber(ca: ScriptedCA) -> Iterator[Subscriber]:
    subscriber = Subscriber(ca)
    yield subscriber
    subscriber.net.session.close()


def in_seconds(seconds: float) -> datetime:
    return datetime.now() + timedelta(seconds=seconds)  # noqa: DTZ005 -- acme wants naive local deadlines


def csr_pem(*names: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return crypto_util.make_csr(pem, domains=list(names))


def csr_der(*names: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    return b64url(x509.load_pem_x509_csr(csr_pem(*names, key=key)).public_bytes(Encoding.DER))


def problem(answer: requests.Response) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Replay-Nonce"]
    body = answer.json()
    assert body["status"] == answer.status_code
    return f"{answer.status_code} {body['type'].rpartition(':')[2]}"


def leaf(order: messages.OrderResource) -> x509.Certificate:
    return x509.load_pem_x509_certificates(order.fullchain_pem.encode())[0]


# Issuing


def test_the_acme_library_issues_for_two_names_and_a_wildcard(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.issue(*NAMES)

    names = leaf(order).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == set(NAMES)
    counted = {"orders": 1, "challenges": 3, "finalized": 1, "issued": 1, "downloaded": 1}
    assert ca.counts_of(*NAMES) == counted


def test_the_chain_and_its_alternate_lead_to_the_two_roots(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.issue(*NAMES)

    roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in ca.roots()]
    for pem, root in zip([order.fullchain_pem, *order.alternative_fullchains_pem], roots, strict=True):
        end, intermediate = x509.load_pem_x509_certificates(pem.encode())
        end.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(root)


def test_an_order_is_processing_for_as_many_readings_as_scripted(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave(processing_polls=2, retry_after="7")
    order = subscriber.ready("a.example.com")

    answers = [subscriber.post(order.body.finalize, {"csr": csr_der("a.example.com")})]
    answers += [subscriber.post(order.uri, None) for _ in range(2)]

    assert [item.json()["status"] for item in answers] == ["processing", "processing", "valid"]
    assert [item.headers.get("Retry-After") for item in answers] == ["7", "7", None]
    assert ca.counts_of("a.example.com")["issued"] == 1


def test_finalizing_twice_certifies_once(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.ready("a.example.com")
    finalize = {"csr": csr_der("a.example.com")}

    first, second = (subscriber.post(order.body.finalize, finalize) for _ in range(2))

    assert first.json()["status"] == "valid"
    assert problem(second) == "403 orderNotReady"
    assert ca.counts_of("a.example.com")["finalized"] == 1


def test_an_order_is_lost_when_the_script_refuses_a_name(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave_for("b.example.com", authz_problem={"type": "urn:ietf:params:acme:error:caa", "detail": "no"})
    order = subscriber.ready("a.example.com", "b.example.com")

    shown = subscriber.post(order.uri, None).json()

    assert (shown["status"], shown["error"]["detail"]) == ("invalid", "no")
    assert ca.counts_of("a.example.com", "b.example.com")["failed_authzs"] == 1


def test_an_order_is_lost_after_finalize_when_the_script_says_so(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave(order_problem={"type": "urn:ietf:params:acme:error:serverInternal", "detail": "HSM on fire"})
    order = subscriber.ready("a.example.com")

    shown = subscriber.post(order.body.finalize, {"csr": csr_der("a.example.com")}).json()

    assert (shown["status"], shown["error"]["detail"]) == ("invalid", "HSM on fire")


def test_a_challenge_stays_processing_in_mode_never(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave(validation="never")
    order = subscriber.ready("a.example.com")

    authz = subscriber.post(order.body.authorizations[0], None).json()

    assert (authz["status"], authz["challenges"][0]["status"]) == ("pending", "processing")


def test_validation_takes_the_scripted_time(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave(validation_delay_ms=150)
    order = subscriber.ready("a.example.com")

    assert subscriber.post(order.uri, None).json()["status"] == "pending"
    subscriber.acme.poll_authorizations(order, in_seconds(10))
    assert subscriber.post(order.uri, None).json()["status"] == "ready"


@pytest.mark.parametrize(
    ("served", "status", "said"),
    [("right", "valid", None), ("wrong", "invalid", "unauthorized"), ("none", "invalid", "dns")],
)
def test_validation_over_dns_believes_only_the_right_value(
    ca: ScriptedCA, subscriber: Subscriber, served: str, status: str, said: str | None
) -> None:
    order = subscriber.order("a.example.com")
    challenge = order.authorizations[0].body.challenges[0].chall
    values = {"right": ["other", challenge.validation(subscriber.key)], "wrong": ["other"], "none": []}[served]
    with txt_server("_acme-challenge.a.example.com.", values) as address:
        ca.behave(validation="dns")
        ca.script(dns_server=address)
        subscriber.prove(order)
        with suppress(acme_errors.ValidationError):
            subscriber.acme.poll_authorizations(order, in_seconds(10))

    shown = subscriber.post(order.body.authorizations[0], None).json()
    error = shown["challenges"][0].get("error", {}).get("type")

    assert (shown["status"], error and error.rpartition(":")[2]) == (status, said)


@contextmanager
def txt_server(name: str, values: list[str]) -> Iterator[str]:
    """Serve TXT values behind a CNAME, or NXDOMAIN where there are none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer_txt, args=(udp, name, values))
        thread.start()
        port = udp.getsockname()[1]
        yield f"127.0.0.1:{port}"
        udp.sendto(b"", ("127.0.0.1", port))
        thread.join()


def answer_txt(udp: socket.socket, name: str, values: list[str]) -> None:
    while True:
        wire, client_address = udp.recvfrom(4096)
        if not wire:
            return
        query = dns.message.from_wire(wire)
        reply = dns.message.make_response(query)
        if not values:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif query.question[0].name.to_text() == name:
            reply.answer.append(dns.rrset.from_text(name, 1, "IN", "CNAME", "elsewhere.example.net."))
        else:
            reply.answer.append(dns.rrset.from_text("elsewhere.example.net.", 1, "IN", "TXT", *values))
        udp.sendto(reply.to_wire(), client_address)


def test_valid_authorizations_come_back_when_reuse_is_on(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.script(authz_reuse_percent=100)
    subscriber.issue("a.example.com")

    assert subscriber.order("a.example.com").body.status == messages.STATUS_READY


def test_a_profile_sets_the_lifetime(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.script(profiles={"classic": {"description": "long"}, "short": {"description": "short", "validity_s": 3600}})

    certificate = leaf(subscriber.issue("a.example.com", profile="short"))

    assert certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(hours=1, minutes=1)
    with pytest.raises(messages.Error, match="invalidProfile"):
        subscriber.order("a.example.com", profile="none-such")


def test_a_certificate_lives_as_long_as_scripted_for_its_name(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.behave_for("a.example.com", validity_s=90)

    short, usual = (leaf(subscriber.issue(name)).not_valid_after_utc for name in ("a.example.com", "b.example.com"))

    assert short < datetime.now(UTC) + timedelta(seconds=91)
    assert usual > datetime.now(UTC) + timedelta(days=89)


def test_a_wildcard_is_offered_dns_only(subscriber: Subscriber) -> None:
    plain, wild = (authz.body for authz in subscriber.order("example.com", "*.example.com").authorizations)

    assert [item.typ for item in plain.challenges] == ["dns-01", "http-01"]
    assert [item.typ for item in wild.challenges] == ["dns-01"]
    assert (wild.identifier.value, wild.wildcard) == ("example.com", True)


def test_authorizations_and_orders_end_when_the_clock_has_moved(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.ready("a.example.com")

    ca.script(clock_offset_s=40 * 86_400)

    assert subscriber.post(order.body.authorizations[0], None).json()["status"] == "expired"
    assert subscriber.post(order.uri, None).json()["status"] == "invalid"


def test_a_deactivated_authorization_loses_its_order(subscriber: Subscriber) -> None:
    order = subscriber.order("a.example.com")

    subscriber.acme.deactivate_authorization(order.authorizations[0])

    assert subscriber.post(order.uri, None).json()["status"] == "invalid"


# Accounts


def test_an_account_is_not_made_by_asking_for_an_existing_one(ca: ScriptedCA) -> None:
    newcomer = Subscriber(ca, registered=False)

    with pytest.raises(messages.Error, match="accountDoesNotExist"):
        newcomer.register(only_return_existing=True)

    assert "accounts" not in ca.counts()["totals"]


def test_an_account_key_may_be_rsa(ca: ScriptedCA) -> None:
    key = JWKRSA(key=rsa.generate_private_key(65537, 2048))
    net = client.ClientNetwork(key, verify_ssl=str(ca.ca_file))  # type: ignore[arg-type]
    acme = client.ClientV2(client.ClientV2.get_directory(ca.directory_url, net), net)

    account = acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))

    assert acme.query_registration(account).body.status == "valid"
    net.session.close()


def test_a_known_key_gets_its_account_back(subscriber: Subscriber) -> None:
    uri, subscriber.net.account = subscriber.uri, None

    with pytest.raises(acme_errors.ConflictError) as known:
        subscriber.register()

    assert known.value.location == uri


def test_an_unbound_account_is_refused_where_binding_is_required(ca: ScriptedCA) -> None:
    ca.script(eab={"kid-1": b64url(b"k" * 32)})
    newcomer = Subscriber(ca, registered=False)

    with pytest.raises(messages.Error, match="externalAccountRequired"):
        newcomer.register()
    with pytest.raises(messages.Error, match="unauthorized"):
        newcomer.register(external_account_binding=binding(newcomer, b"w" * 32))
    assert newcomer.register(external_account_binding=binding(newcomer, b"k" * 32)).body.status == "valid"


def binding(newcomer: Subscriber, mac_key: bytes) -> Any:
    data = messages.ExternalAccountBinding.from_data
    return data(newcomer.key.public_key(), "kid-1", b64url(mac_key), newcomer.directory)


def test_a_deactivated_account_may_do_nothing(subscriber: Subscriber) -> None:
    subscriber.post(subscriber.uri, {"status": "deactivated"})

    answer = subscriber.post(subscriber.directory["newOrder"], {})

    assert problem(answer) == "401 unauthorized"


def test_the_account_key_can_change(subscriber: Subscriber) -> None:
    old, url = subscriber.key, subscriber.directory["keyChange"]
    old_jwk = old.public_key().to_partial_json()
    subscriber.key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    new_jwk = {"kty": "EC", **subscriber.key.public_key().to_partial_json()}
    wish = {"account": subscriber.uri, "oldKey": {"kty": "EC", **old_jwk}}
    inner = subscriber.signed(url, wish, jwk=new_jwk, kid=None, nonce=None)
    new, subscriber.key = subscriber.key, old

    assert subscriber.post(url, inner).status_code == 200
    assert problem(subscriber.post(subscriber.uri, None)) == "400 malformed"
    subscriber.key = new
    assert subscriber.post(subscriber.uri, None).json()["status"] == "valid"


# Renewal information and revocation


def test_renewal_information_is_as_scripted_and_an_order_replaces_only_once(
    ca: ScriptedCA, subscriber: Subscriber
) -> None:
    window = {"suggestedWindow": {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}}
    ca.behave(ari=window)
    old = _renewal_info_path_component(leaf(subscriber.issue("a.example.com")))
    wish = {"identifiers": [{"type": "dns", "value": "a.example.com"}], "replaces": old}

    shown = subscriber.net.get(f"{subscriber.directory['renewalInfo']}/{old}")
    first, second = (subscriber.post(subscriber.directory["newOrder"], wish) for _ in range(2))

    assert (shown.json(), shown.headers["Retry-After"]) == (window, "21600")
    assert (first.status_code, first.json()["replaces"]) == (201, old)
    assert problem(second) == "409 alreadyReplaced"


def test_a_certificate_is_revoked_once_and_only_by_its_account(ca: ScriptedCA, subscriber: Subscriber) -> None:
    certificate = leaf(subscriber.issue("a.example.com"))

    with pytest.raises(messages.Error, match="unauthorized"):
        Subscriber(ca).acme.revoke(certificate, 0)
    subscriber.acme.revoke(certificate, 1)
    with pytest.raises(messages.Error, match="alreadyRevoked"):
        subscriber.acme.revoke(certificate, 1)


def test_the_holder_of_a_certificates_key_may_revoke_it(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order, key = subscriber.ready("a.example.com"), ec.generate_private_key(ec.SECP256R1())
    done = subscriber.post(order.body.finalize, {"csr": csr_der("a.example.com", key=key)}).json()
    chain = subscriber.post(done["certificate"], None).content
    certificate = x509.load_pem_x509_certificates(chain)[0]

    holder = Subscriber(ca, registered=False)
    holder.net.key = JWKEC(key=key)
    holder.acme.revoke(certificate, 1)

    window = holder.net.get(f"{holder.directory['renewalInfo']}/{_renewal_info_path_component(certificate)}").json()
    assert datetime.fromisoformat(window["suggestedWindow"]["start"]) <= datetime.now(UTC)


# Strictness


def test_a_nonce_counts_once_and_its_refusal_brings_a_fresh_one(subscriber: Subscriber) -> None:
    url = subscriber.uri
    body = subscriber.signed(url, None)

    assert subscriber.send(url, body).status_code == 200
    refused = subscriber.send(url, body)

    assert problem(refused) == "400 badNonce"
    assert subscriber.post(url, None, nonce=refused.headers["Replay-Nonce"]).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonce": "neverGivenOutYet"}, "400 badNonce"),
        ({"nonce": "padded=="}, "400 malformed"),
        ({"url": "https://127.0.0.1/other"}, "403 unauthorized"),
        ({"alg": "HS256"}, "400 badSignatureAlgorithm"),
        ({"alg": "RS256"}, "400 badSignatureAlgorithm"),
        ({"kid": "https://127.0.0.1/acct/1"}, "400 accountDoesNotExist"),
        ({"kid": None}, "400 malformed"),
        ({"jwk": {"kty": "EC"}}, "400 malformed"),
        ({"crit": ["exp"]}, "400 malformed"),
    ],
)
def test_a_wrong_protected_header_is_refused(subscriber: Subscriber, changes: dict[str, Any], said: str) -> None:
    assert problem(subscriber.post(subscriber.uri, None, **changes)) == said


def test_padding_is_refused(subscriber: Subscriber) -> None:
    url = subscriber.uri
    body = subscriber.signed(url, {"contact": []})
    body["signature"] += "=="

    assert problem(subscriber.send(url, body)) == "400 malformed"


def test_a_signature_over_other_bytes_is_refused(subscriber: Subscriber) -> None:
    url = subscriber.uri
    body = subscriber.signed(url, {"contact": []}) | {"payload": b64url(b'{"status":"deactivated"}')}

    assert problem(subscriber.send(url, body)) == "400 malformed"


def test_a_wrong_content_type_is_refused(subscriber: Subscriber) -> None:
    url = subscriber.uri

    assert problem(subscriber.send(url, subscriber.signed(url, None), "application/json")) == "415 malformed"


def test_resources_are_not_read_with_get(subscriber: Subscriber) -> None:
    answer = subscriber.net.session.get(subscriber.uri, verify=subscriber.net.verify_ssl, timeout=20)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_another_account_gets_nothing(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.issue("a.example.com")
    stranger = Subscriber(ca)

    for url in (order.uri, order.body.authorizations[0], str(order.body.certificate), subscriber.uri):
        assert problem(stranger.post(url, None)) == "403 unauthorized"


@pytest.mark.parametrize("names", [("a.example.com",), ("a.example.com", "b.example.com", "c.example.com")])
def test_a_request_for_other_names_is_refused_and_the_order_stays_ready(
    subscriber: Subscriber, names: tuple[str, ...]
) -> None:
    order = subscriber.ready("a.example.com", "b.example.com")

    assert problem(subscriber.post(order.body.finalize, {"csr": csr_der(*names)})) == "400 badCSR"
    assert subscriber.post(order.uri, None).json()["status"] == "ready"


def test_the_account_key_is_not_certified(subscriber: Subscriber) -> None:
    order = subscriber.ready("a.example.com")
    request = csr_der("a.example.com", key=subscriber.private_key)

    assert problem(subscriber.post(order.body.finalize, {"csr": request})) == "400 badCSR"


def test_an_order_is_not_finalized_before_it_is_ready(subscriber: Subscriber) -> None:
    order = subscriber.order("a.example.com")

    answer = subscriber.post(order.body.finalize, {"csr": csr_der("a.example.com")})

    assert problem(answer) == "403 orderNotReady"


# Faults


def test_nonces_are_refused_at_the_scripted_rate(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.script(nonce_reject_percent=50)
    ca.seed(1)

    answers = [subscriber.post(subscriber.uri, None).status_code for _ in range(40)]

    assert 10 < answers.count(400) < 30
    assert ca.counts()["totals"]["nonces_refused"] == answers.count(400)


@pytest.mark.parametrize("wait", ["120", "Fri, 31 Dec 2100 23:59:59 GMT", "1000000000", None])
def test_a_rate_limit_comes_with_any_retry_after(ca: ScriptedCA, subscriber: Subscriber, wait: str | None) -> None:
    headers = {"Retry-After": wait} if wait else {}
    ca.fault("newOrder", status=429, type="rateLimited", headers=headers)

    answer = subscriber.post(subscriber.directory["newOrder"], {})

    assert problem(answer) == "429 rateLimited"
    assert answer.headers.get("Retry-After") == wait


@pytest.mark.parametrize(("when", "orders"), [("before", 0), ("after", 1)])
def test_a_connection_is_reset_before_or_after_the_order_exists(
    ca: ScriptedCA, subscriber: Subscriber, when: str, orders: int
) -> None:
    ca.fault("newOrder", act="reset", when=when)

    with pytest.raises(requests.exceptions.ConnectionError):
        subscriber.order("a.example.com")

    assert ca.counts_of("a.example.com").get("orders", 0) == orders


def test_a_fault_strikes_the_nth_request_for_a_name_and_no_other(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.fault("newOrder", names=["a.example.com"], nth=2, times=1, act="answer", status=503, body="down for repair")

    subscriber.order("a.example.com")
    subscriber.order("b.example.com")
    with pytest.raises(acme_errors.ClientError):
        subscriber.order("a.example.com")
    subscriber.order("a.example.com")


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (
            {"status": 503, "body": "<html>busy</html>", "content_type": "text/html"},
            503,
            "text/html",
            "<html>busy</html>",
        ),
        ({"body": "{not json"}, 200, None, "{not json"),
        ({"status": 302, "headers": {"Location": "https://127.0.0.1:9/"}}, 302, None, ""),
    ],
)
def test_an_answer_can_be_anything(
    ca: ScriptedCA, subscriber: Subscriber, fault: dict[str, Any], status: int, content_type: str | None, body: str
) -> None:
    ca.fault("order", act="answer", **fault)
    order = subscriber.order("a.example.com")
    request = subscriber.signed(order.uri, None)

    answer = subscriber.net.session.post(
        order.uri,
        data=json.dumps(request),
        headers={"Content-Type": "application/jose+json"},
        verify=subscriber.net.verify_ssl,
        allow_redirects=False,
        timeout=20,
    )

    assert (answer.status_code, answer.headers.get("Content-Type"), answer.text) == (status, content_type, body)


def test_a_true_answer_can_have_the_wrong_content_type(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.order("a.example.com")
    ca.fault("order", act="answer", when="after", content_type="text/html")

    answer = subscriber.post(order.uri, None)

    assert answer.headers["Content-Type"] == "text/html"
    assert answer.json()["status"] == "pending"


def test_a_body_can_be_slow_or_huge(ca: ScriptedCA, subscriber: Subscriber) -> None:
    order = subscriber.order("a.example.com")
    ca.fault("order", act="drip", seconds=0.4)
    ca.fault("authz", act="huge", size=3_000_000)

    began = time.monotonic()
    slow = subscriber.post(order.uri, None)
    took_s = time.monotonic() - began
    huge = subscriber.post(order.body.authorizations[0], None)

    assert slow.json()["status"] == "pending"
    assert took_s >= 0.4
    assert len(huge.content) == 3_000_000


def test_every_answer_waits_as_long_as_scripted(ca: ScriptedCA, subscriber: Subscriber) -> None:
    ca.script(delay_ms=1, delays_ms={"account": 120})

    assert subscriber.post(subscriber.uri, None).elapsed > timedelta(milliseconds=120)


def test_the_ca_ends_with_the_process_that_started_it() -> None:
    program = "from rig.scripted_ca import ScriptedCA; import os; print(ScriptedCA().pid, flush=True); os._exit(0)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pid = int(ended.stdout)

    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_unknown_knob_is_refused(ca: ScriptedCA) -> None:
    with pytest.raises(ScriptRefused, match="nonesuch"):
        ca.script(nonesuch=1)
    with pytest.raises(ScriptRefused, match="sideways"):
        ca.fault("order", act="sideways")


# Certificates that are wrong


@pytest.mark.parametrize(
    ("variant", "fault"),
    [
        ("other_key", "key"),
        ("missing_san", "names"),
        ("extra_san", "names"),
        ("expired", "dates"),
        ("not_yet_valid", "dates"),
        ("ca_leaf", "ca"),
        ("broken_chain", "chain"),
        ("no_chain", "chain"),
        ("reversed_chain", "names"),
        ("garbage_pem", "pem"),
        ("empty", "pem"),
        ("extra_text", "text"),
        ("with_private_key", "text"),
        ("good", "none"),
    ],
)
def test_a_scripted_certificate_is_wrong_in_just_one_way(
    ca: ScriptedCA, subscriber: Subscriber, variant: str, fault: str
) -> None:
    ca.behave(certificate=variant)
    order = subscriber.ready("a.example.com", "b.example.com")
    key = ec.generate_private_key(ec.SECP256R1())

    done = subscriber.post(order.body.finalize, {"csr": csr_der("a.example.com", "b.example.com", key=key)}).json()
    chain = subscriber.post(done["certificate"], None)

    assert first_fault(chain.text, key, {"a.example.com", "b.example.com"}) == fault


def first_fault(pem: str, key: ec.EllipticCurvePrivateKey, names: set[str]) -> str:
    try:
        end, *rest = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "pem"
    try:
        found = end.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "names"
    now = datetime.now(UTC)
    checks = {
        "key": end.public_key() == key.public_key(),
        "names": set(found.get_values_for_type(x509.DNSName)) == names,
        "dates": end.not_valid_before_utc <= now <= end.not_valid_after_utc,
        "ca": not end.extensions.get_extension_for_class(x509.BasicConstraints).value.ca,
        "chain": bool(rest) and end.issuer == rest[0].subject,
        "text": pem == "".join(item.public_bytes(Encoding.PEM).decode() for item in (end, *rest)),
    }
    return next((name for name, holds in checks.items() if not holds), "none")
