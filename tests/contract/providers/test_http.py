"""The client all API providers share: bounded, and silent about secrets, whatever the other side does."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import urllib3.util.connection
from pydantic import BaseModel

from knit.errors import CredentialsRejected, Interrupted, Misconfigured, RateLimited, Refused, Unreachable
from knit.providers.base import Runtime
from knit.providers.http.accounts import Account, anonymous, basic, header
from knit.providers.http.api import Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body
from rig.dns_api.server import FakeApi, Request, Response, json_response

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEEK = NOW + timedelta(days=7)
SECRET = "canary-token"


class Echo(FakeApi):
    """Answers every request with what it was asked."""

    def handle(self, request: Request) -> Response:
        return json_response({"path": request.path, "query": dict(request.query), "body": request.body.decode()})

    def add_zone(self, zone: str) -> None: ...

    def seed(self, zone: str, fqdn: str, value: str) -> None: ...

    def values(self, fqdn: str) -> list[str]:
        return []


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    with echo.serving():
        yield echo


def api(url: str, timeout: float = 0.5) -> Api:
    account = Account(
        provider="acme", rights="DNS: edit", sign=header("Authorization", f"Bearer {SECRET}"), secrets=(SECRET,)
    )
    return Api(url, account, Runtime(clock=lambda: NOW, sleep=lambda _: None), timeout=timeout)


def test_a_redirect_is_not_followed_for_it_would_take_the_token_elsewhere(echo: Echo) -> None:
    echo.fail(Response(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(Refused, match="HTTP 302"):
        api(echo.url).get("/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", NOW + timedelta(seconds=90)),
        ("Sun, 01 Mar 2026 12:05:00 GMT", NOW + timedelta(minutes=5)),
        ("Sun, 01 Mar 2020 12:05:00 GMT", NOW),
        ("soon", None),
        ("9999999", WEEK),
        ("9" * 12, WEEK),
        ("9" * 5000, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", WEEK),
        ("Fri, 31 Dec 9999 23:59:59 -2300", WEEK),
        ("Mon, 01 Jan 0001 00:00:00 +2300", NOW),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999999", None),
        ("+999", None),
        ("1e9", None),
        ("-5", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(echo: Echo, text: str, expected: datetime | None) -> None:
    echo.fail(Response(status=429, headers={"Retry-After": text}), times=9)
    with pytest.raises(RateLimited) as caught:
        api(echo.url).get("/")
    assert caught.value.retry_at == expected


def test_user_and_password_in_the_address_are_basic_authentication_and_never_shown(echo: Echo) -> None:
    address = echo.url.replace("http://", "http://us%40er:can%2Fary@") + "/behind"
    account = Account(provider="acme", rights="-", sign=header("X-API-Key", SECRET))
    behind = Api(address, account, Runtime(clock=lambda: NOW, sleep=lambda _: None), timeout=0.5)
    assert behind.get("/x").parse(dict[str, object])["path"] == "/behind/x"
    sent = echo.requests[-1].headers
    assert sent["authorization"] == "Basic " + base64.b64encode(b"us@er:can/ary").decode()
    assert sent["x-api-key"] == SECRET
    echo.fail(Response(status=400, body=b"can/ary can%2Fary"))
    with pytest.raises(Refused) as caught:
        behind.get("/x")
    assert "ary" not in str(caught.value)
    with pytest.raises(Misconfigured) as odd:
        Api("ftp://user:canary@host/", account, Runtime(clock=lambda: NOW, sleep=lambda _: None), timeout=1)
    assert "canary" not in str(odd.value)


def test_a_credential_of_its_own_goes_before_the_one_in_the_address(echo: Echo) -> None:
    api(echo.url.replace("http://", "http://user:password@")).get("/")
    assert echo.requests[-1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(("spared", "uses"), [("", True), ("elsewhere.test", True), ("127.0.0.9", False)])
def test_a_proxy_of_the_provider_s_own_is_used_but_for_hosts_it_spares(echo: Echo, spared: str, uses: bool) -> None:
    account = Account(provider="acme", rights="-", sign=anonymous)
    proxies = {"http": echo.url} | ({"no_proxy": spared} if spared else {})
    runtime = Runtime(clock=lambda: NOW, sleep=lambda _: None)
    client = Api("http://127.0.0.9:1", account, runtime, timeout=2, proxies=proxies)
    if uses:
        client.get("/x")
        assert echo.requests[-1].headers["host"] == "127.0.0.9:1"
    else:
        with pytest.raises(Unreachable, match="no connection"):
            client.get("/x")
        assert echo.requests == []


SLOW = Response(delay=1.2)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_call_that_may_arrive_twice_is_made_once_more_when_no_answer_comes(echo: Echo, method: str) -> None:
    echo.fail(SLOW)
    assert api(echo.url).call(method, "/x").parse(dict[str, object])["path"] == "/x"
    assert [request.method for request in echo.requests] == [method] * 2


@pytest.mark.parametrize(("again", "times"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_one_that_may_not_is_made_again_only_where_its_sender_says_so(
    echo: Echo, method: str, again: bool, times: int
) -> None:
    echo.fail(SLOW, times=9)
    with pytest.raises(Unreachable, match="no answer in time"):
        api(echo.url).call(method, "/x", Body(json={}, again=again))
    assert len(echo.requests) == times


def test_whatever_never_left_is_sent_again(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[float] = []
    connect = urllib3.util.connection.create_connection

    def refused_once(*given: object, **named: object) -> socket.socket:
        opened.append(time.monotonic())
        if len(opened) == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(*given, **named)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr("urllib3.util.connection.create_connection", refused_once)
    api(echo.url).call("POST", "/x", Body(json={}))
    assert (len(opened), len(echo.requests)) == (2, 1)


def test_a_stop_does_not_wait_for_a_slow_answer_and_the_next_call_is_a_fresh_one(echo: Echo) -> None:
    stopped = threading.Event()

    def sleep(seconds: float) -> None:
        if stopped.wait(seconds):
            raise Interrupted("stopping")

    account = Account(provider="acme", rights="-", sign=anonymous)
    client = Api(echo.url, account, Runtime(clock=lambda: NOW, sleep=sleep), timeout=60)
    client.get("/")
    echo.fail(Response(delay=20.0))
    threading.Timer(0.2, stopped.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        client.get("/")
    assert time.monotonic() - started < 8
    stopped.clear()
    assert client.get("/fresh").parse(dict[str, object])["path"] == "/fresh"


def test_an_answer_that_comes_soon_after_a_stop_is_still_taken(echo: Echo) -> None:
    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    echo.fail(Response(delay=1.0, body=b'"late"'))
    account = Account(provider="acme", rights="-", sign=anonymous)
    assert Api(echo.url, account, Runtime(clock=lambda: NOW, sleep=stopping), timeout=60).get("/").text == '"late"'


def test_a_stop_ends_the_pause_between_two_tries(echo: Echo) -> None:
    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    echo.fail(Response(status=500))
    account = Account(provider="acme", rights="-", sign=anonymous)
    with pytest.raises(Interrupted):
        Api(echo.url, account, Runtime(clock=lambda: NOW, sleep=stopping), timeout=1).get("/")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 10\r\n\r\nshort",
        b"Content-Length: 10\r\n\r\nshor",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx",
        b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    ],
)
def test_a_body_that_breaks_off_or_cannot_be_decoded_is_unreachable(rest: bytes) -> None:
    said = b"HTTP/1.1 200 OK\r\n" + rest
    with closing(saying(said, linger=2 * rest.endswith(b"shor"))) as server, pytest.raises(Unreachable):
        api(f"http://127.0.0.1:{server.getsockname()[1]}").get("/")


def test_a_body_without_end_is_cut_off(echo: Echo) -> None:
    echo.fail(Response(body=b"x" * (5 * 1024 * 1024)), times=9)
    with pytest.raises(Unreachable, match="too long"):
        api(echo.url, timeout=5).get("/")


def saying(said: bytes, *, linger: float = 0) -> socket.socket:
    """A server that says this, whatever it is asked, and hangs up after `linger` seconds."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(said)
            time.sleep(linger)

    threading.Thread(target=serve, daemon=True).start()
    return server


def dripping() -> socket.socket:
    """A server that sends one byte of a long body every tenth of a second."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(200):
                time.sleep(0.1)
                try:
                    client.sendall(b"x")
                except OSError:
                    return

    threading.Thread(target=serve, daemon=True).start()
    return server


def test_a_body_that_drips_is_cut_off() -> None:
    with closing(dripping()) as server:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            api(f"http://127.0.0.1:{server.getsockname()[1]}").get("/")
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 banana\r\n\r\n", b"\x00\xff" * 100])
def test_what_is_not_http_is_unreachable(said: bytes) -> None:
    with closing(saying(said)) as server, pytest.raises(Unreachable):
        api(f"http://127.0.0.1:{server.getsockname()[1]}/").get("/")


def test_a_secret_in_the_address_or_the_answer_never_shows(echo: Echo) -> None:
    echo.fail(Response(status=400, body=f"bad {SECRET}".encode()))
    with pytest.raises(Refused) as refused:
        api(echo.url).get(f"/{SECRET}", {"token": SECRET})
    with pytest.raises(Unreachable) as gone:
        api("http://127.0.0.1:1").get(f"/{SECRET}", {"token": SECRET})
    for caught in (refused, gone):
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert caught.value.__cause__ is None


def test_the_answer_s_control_characters_do_not_reach_a_terminal(echo: Echo) -> None:
    echo.fail(Response(status=400, body=b"bad\x1b[31m\r\nline\x00two"))
    with pytest.raises(Refused, match=r"bad \[31m line two$"):
        api(echo.url).get("/")


def test_markup_does_not_push_the_reason_out_of_sight(echo: Echo) -> None:
    page = b'<?xml version="1.0"?>\n<Error xmlns="urn:' + b"x" * 200 + b'"><Message>no &amp; never</Message></Error>'
    echo.fail(Response(status=400, body=page))
    with pytest.raises(Refused, match=r": no & never$"):
        api(echo.url).get("/")


def test_netrc_does_not_replace_our_credentials(
    echo: Echo, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    api(echo.url).get("/")
    assert echo.requests[0].headers["authorization"] == f"Bearer {SECRET}"


def test_basic_authentication_is_that_of_rfc_7617(echo: Echo) -> None:
    account = Account(provider="acme", rights="-", sign=basic("Aladdin", "open sesame"))
    Api(echo.url, account, Runtime(clock=lambda: NOW, sleep=lambda _: None), timeout=1).get("/")
    assert echo.requests[0].headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_json_form_and_raw_bodies_are_sent_as_such(echo: Echo) -> None:
    for body, kind in (
        (Body(json={"a": 1}), "application/json"),
        (Body(form={"a": "1"}), "application/x-www-form-urlencoded"),
    ):
        api(echo.url).call("POST", "/", body)
        assert echo.requests[-1].headers["content-type"] == kind
    api(echo.url).call("POST", "/", Body(raw=b"<x/>", headers={"Content-Type": "text/xml"}))
    assert echo.requests[-1].body == b"<x/>"


class Shape(BaseModel):
    path: str


def test_an_answer_of_another_shape_names_the_place_and_not_the_value(echo: Echo) -> None:
    echo.fail(json_response({"path": {"secret": "x"}}))
    with pytest.raises(Unreachable, match=r"not as documented \(path\)"):
        api(echo.url).get("/").parse(Shape)


def test_an_address_that_is_no_url_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured, match="https://"):
        api("api.example.org")


def test_pages_are_read_to_the_end_and_endless_ones_are_an_error() -> None:
    assert list(paged(lambda page: ([page, page], page + 1 if page < 3 else None), 1)) == [1, 1, 2, 2, 3, 3]
    with pytest.raises(Unreachable, match="does not end"):
        list(paged(lambda page: ([page], page), 1))


@pytest.mark.parametrize("value", ["plain", 'with "quotes"', "back\\slash", "", "a b"])
def test_a_quoted_value_reads_back(value: str) -> None:
    assert unquoted(quoted(value)) == value


def test_several_strings_are_joined_and_bare_text_is_taken_as_it_is() -> None:
    assert unquoted('"ab" "cd"') == "abcd"
    assert unquoted("abcd") == "abcd"


@pytest.mark.parametrize("token", ["canary\ntoken", "canary-token\r\n", "canary\ttoken\x7f", "canary\u2019token"])
def test_a_credential_that_fits_into_no_header_is_said_to_be_wrong_and_not_shown(echo: Echo, token: str) -> None:
    account = Account(provider="acme", rights="DNS: edit", sign=header("Authorization", f"Bearer {token}"))
    asked = Api(echo.url, account, Runtime(clock=lambda: NOW, sleep=lambda _: None), timeout=0.5)
    with pytest.raises(CredentialsRejected, match="no HTTP header can carry") as caught:
        asked.get("/")
    assert "canary" not in str(caught.value)
    assert echo.requests == []


@pytest.mark.parametrize("status", [408, 409, 423, 425, 500, 503])
def test_a_provider_that_is_busy_is_asked_again_later_and_an_order_outlives_it(echo: Echo, status: int) -> None:
    echo.fail(Response(status=status, body=b"the zone is locked by another change"), times=3)
    with pytest.raises(Unreachable, match="locked by another change"):
        api(echo.url).call("POST", "/")
