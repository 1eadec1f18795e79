"""Real clients' handshakes with servers in Python, while certificates come and go."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.errors import Misconfigured, Unreachable
from knit.tls import Certificates
from rig.valkey import Valkey
from tests.integration.node import pki
from tests.integration.node.conftest import Publisher, until
from tests.integration.tls.conftest import InFolder, Place, asked, serial_of, serving

FLEET = 50
CLIENTS = 6
SWAPS = 150


def wait_for(certificates: Certificates, bundle: Bundle) -> None:
    """Until this is the first certificate."""
    until(lambda: certificates.status().certificates[0].serial == f"{serial_of(bundle):x}")


def test_each_client_is_answered_with_the_certificate_for_its_name(place: Place) -> None:
    bundles = {
        "exact": pki.pair("www.example.org"),
        "wild": pki.pair("*.example.org", age=100, days=90),
        "main": pki.pair("main.test"),
    }
    for name, bundle in bundles.items():
        place.put(name, bundle)
    serial = {name: serial_of(bundle) for name, bundle in bundles.items()}
    with Certificates(place.source, default="main.test") as certificates, serving(certificates) as port:
        answers: tuple[tuple[str | None, str], ...] = (
            ("www.example.org", "exact"),
            ("WWW.EXAMPLE.ORG", "exact"),
            ("a.example.org", "wild"),
            ("a.b.example.org", "main"),
            ("example.org", "main"),
            (None, "main"),
        )
        for asked_for, answer in answers:
            assert asked(port, asked_for) == serial[answer], asked_for
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert asked(port, "a.example.org", minimum_version=version, maximum_version=version) == serial["wild"]
        records = {record.serial: record for record in certificates.status().certificates}
        assert [record.names for record in records.values() if record.expired] == [("*.example.org",)]
        assert f"{serial['main']:x}" in records
        assert certificates.record_for("other.test") == records[f"{serial['main']:x}"]


def test_new_handshakes_get_the_new_certificate_and_open_connections_stay(place: Place) -> None:
    old, new = pki.pair("www.test"), pki.pair("www.test", age=0.5)
    place.put("www", old)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with (
        Certificates(place.source, interval=0.2) as certificates,
        serving(certificates) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        client.wrap_socket(plain) as open_connection,
    ):
        open_connection.sendall(b"before\n")
        assert open_connection.recv(100) == b"before\n"
        place.put("www", new)
        until(lambda: asked(port, "www.test") == serial_of(new))
        open_connection.sendall(b"after\n")
        assert open_connection.recv(100) == b"after\n"


def test_a_spoiled_pair_leaves_the_old_one_and_is_reported(place: Place) -> None:
    old, new = pki.pair("www.test"), pki.pair("www.test", age=0.5)
    place.put("www", old)
    place.put("other", pki.pair("other.test"))
    with Certificates(place.source, interval=0.1) as certificates, serving(certificates) as port:
        place.spoil("www")
        until(lambda: any("www" in origin for origin in certificates.status().complaints))
        assert asked(port, "www.test") == serial_of(old)
        place.put("www", new)
        until(lambda: asked(port, "www.test") == serial_of(new))
        assert certificates.status().complaints == {}


def test_no_handshake_fails_while_fifty_certificates_are_swapped_again_and_again(place: Place) -> None:
    history: dict[str, list[int]] = {}
    numbers, dice = count(1), random.Random(7)

    def renew(name: str) -> None:
        bundle = pki.pair(f"{name}.test", age=1 / next(numbers))
        history.setdefault(name, []).append(serial_of(bundle))
        place.put(name, bundle)

    names = [f"n{number}" for number in range(FLEET)]
    for name in names:
        renew(name)
    ended, failures, done = threading.Event(), [], [0] * CLIENTS

    def client(number: int, port: int) -> None:
        own = random.Random(number)
        while not ended.is_set():
            name = own.choice(names)
            try:
                if asked(port, f"{name}.test") not in history[name]:
                    failures.append(f"{name}: another name's certificate")
            except (OSError, AssertionError) as error:
                failures.append(f"{name}: {error!r}")
            done[number] += 1

    with (
        Certificates(place.source, interval=0.05) as certificates,
        serving(certificates) as port,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        try:
            for number in range(CLIENTS):
                clients.submit(client, number, port)
            for number in range(SWAPS):
                renew(dice.choice(names))
                if number % 10 == 0:
                    place.spoil("spoiled")
            until(
                lambda: {asked(port, f"{name}.test") for name in names} == {each[-1] for each in history.values()}, 60
            )
        finally:
            ended.set()
    assert failures == []
    assert sum(done) > 200


def test_what_is_set_up_holds_for_every_certificate(place: Place) -> None:
    place.put("www", pki.pair("www.test"))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2"])
    set_up = lambda context: context.set_alpn_protocols(["h2", "http/1.1"])  # noqa: E731 -- as in the page
    with (
        Certificates(place.source, set_up=set_up) as certificates,
        serving(certificates) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        client.wrap_socket(plain, server_hostname="www.test") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"


def test_without_a_certificate_handshakes_fail_until_there_is_one(place: Place) -> None:
    with Certificates(place.source, interval=0.1) as certificates, serving(certificates) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            asked(port, "www.test")
        bundle = pki.pair("www.test")
        place.put("www", bundle)
        until(lambda: certificates.record_for("www.test") is not None)
        assert asked(port, "www.test") == serial_of(bundle)


def test_a_threading_http_server_takes_the_context(tmp_path: Path) -> None:
    place, bundle = InFolder(tmp_path), pki.pair("www.test")
    place.put("www", bundle)

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    with Certificates(place.source) as certificates, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = certificates.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            assert asked(server.server_address[1], "www.test") == serial_of(bundle)
        finally:
            server.shutdown()
            thread.join()


def test_a_published_change_comes_by_a_hint_long_before_the_interval(
    request: pytest.FixtureRequest, valkey_url: str
) -> None:
    publisher = Publisher(valkey_url, Path("/tls"))
    request.addfinalizer(publisher.link.close)
    publisher.pair("cert:www", pki.pair("www.test"))
    with Certificates(valkey_url, interval=600) as certificates:
        for generation in (2, 3):
            new = pki.pair("www.test", age=1 / generation)
            publisher.pair("cert:www", new, generation=generation)
            wait_for(certificates, new)
        publisher.pair("cert:api", pki.pair("api.test"))
        until(lambda: len(certificates.status().certificates) == 2)
        publisher.prune("cert:api")
        until(lambda: len(certificates.status().certificates) == 1)


def test_a_flood_of_hints_is_answered_by_a_few_looks(
    request: pytest.FixtureRequest, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(valkey_url, Path("/tls"))
    request.addfinalizer(publisher.link.close)
    publisher.pair("cert:www", pki.pair("www.test"))
    with Certificates(valkey_url, interval=600) as certificates:
        looks = count(1)
        look = certificates._source.look
        monkeypatch.setattr(certificates._source, "look", lambda: bool(next(looks)) and look())
        began = time.monotonic()
        while time.monotonic() - began < 3:
            publisher.link.client.publish("knit:index:changed", "1")
        assert 1 < next(looks) <= 9
        new = pki.pair("www.test", age=0.5)
        publisher.pair("cert:www", new, generation=2)
        wait_for(certificates, new)


def test_an_older_generation_and_a_missing_value_leave_what_is_served(
    request: pytest.FixtureRequest, valkey_url: str
) -> None:
    publisher = Publisher(valkey_url, Path("/tls"))
    request.addfinalizer(publisher.link.close)
    new, old = pki.pair("www.test"), pki.pair("www.test", age=2)
    publisher.pair("cert:www", new, generation=5)
    with Certificates(valkey_url, interval=600) as certificates:
        publisher.without_feed("cert:www", pki.value(old, "/tls", generation=4))
        certificates._source._sweep_at = 0.0  # type: ignore[attr-defined]
        certificates.refresh()
        assert "generation 4 is older" in certificates.status().complaints["cert:www"]
        publisher.link.client.delete("cert:www")
        certificates.refresh()
        assert certificates.status().complaints == {"cert:www": "its published value is missing"}
        publisher.link.client.delete("knit:index")
        certificates._source._sweep_at = 0.0  # type: ignore[attr-defined]
        certificates.refresh()
        assert certificates.status().complaints == {"the index": "nothing is published, keeping what was"}
        assert certificates.status().certificates[0].serial == f"{serial_of(new):x}"


def test_a_valkey_that_goes_away_leaves_what_is_served_and_comes_back(own_valkey: Valkey) -> None:
    publisher = Publisher(own_valkey.url, Path("/tls"))
    old = pki.pair("www.test")
    publisher.pair("cert:www", old)
    with Certificates(own_valkey.url, interval=0.2) as certificates, serving(certificates) as port:
        own_valkey.stop()
        until(lambda: "source" in certificates.status().complaints)
        assert asked(port, "www.test") == serial_of(old)
        own_valkey.start()
        until(lambda: certificates.status().complaints == {})
    publisher.link.close()


def test_a_source_that_cannot_be_had_is_told_at_once(tmp_path: Path, own_valkey: Valkey) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        Certificates(tmp_path / "nowhere")
    with pytest.raises(Misconfigured, match="the URL of Valkey"):
        Certificates("http://example.test")
    own_valkey.stop()
    with pytest.raises(Unreachable):
        Certificates(own_valkey.url)
    assert not [thread for thread in threading.enumerate() if thread.name == "knit-tls"]


def test_a_look_that_fails_unexpectedly_is_told_and_the_next_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = InFolder(tmp_path)
    place.put("www", pki.pair("www.test"))
    with Certificates(place.source, interval=0.05) as certificates:
        with monkeypatch.context() as broken:
            broken.setattr(certificates._source, "look", lambda: 1 / 0)
            until(lambda: certificates.status().complaints == {"source": "unexpected: ZeroDivisionError"})
        until(lambda: certificates.status().complaints == {})


def test_closing_takes_a_second_or_two_and_what_was_served_still_is(place: Place) -> None:
    bundle = pki.pair("www.test")
    place.put("www", bundle)
    certificates = Certificates(place.source, interval=600)
    with serving(certificates) as port:
        began = time.monotonic()
        certificates.close()
        assert time.monotonic() - began < 5
        assert asked(port, "www.test") == serial_of(bundle)
