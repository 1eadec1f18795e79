"""What is seen of real servers, and what is said of those that show nothing."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from knit.core.model.certificate import Bundle
from knit.core.model.places import Probe, StartTls
from knit.errors import Transient
from knit.node import probe as probe_module
from knit.node.probe import Prober
from knit.ports.probing import KeyKind, Served
from rig.machine import Machine
from rig.ports import free_port
from rig.tls_servers import SERVERS, put, set_up
from tests.integration.node import pki


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with closing(Prober(os.environ)) as prober:
        yield prober


def leaf(bundle: Bundle) -> x509.Certificate:
    return x509.load_pem_x509_certificates(bundle.fullchain)[0]


def fingerprint(bundle: Bundle) -> str:
    return leaf(bundle).fingerprint(hashes.SHA256()).hex()


def at(port: int, starttls: StartTls = StartTls.NONE) -> Probe:
    return Probe(connect=f"127.0.0.1:{port}", starttls=starttls)


@pytest.mark.parametrize(
    ("name", "starttls", "which"),
    [
        ("nginx", StartTls.NONE, 0),
        ("postfix", StartTls.SMTP, 0),
        ("dovecot", StartTls.IMAP, 0),
        ("dovecot", StartTls.POP3, 1),
        ("slapd", StartTls.LDAP, 0),
        ("postgresql", StartTls.POSTGRES, 0),
        ("mariadb", StartTls.MYSQL, 0),
    ],
)
def test_what_a_real_server_shows_is_seen(
    machine: Machine, prober: Prober, name: str, starttls: StartTls, which: int
) -> None:
    pair = pki.pair()
    put(machine, pair.fullchain, pair.privkey, keys=SERVERS[name].keys)
    server = set_up(machine, name)
    server.start()
    port = server.ports[which]
    assert prober.served(at(port, starttls), server_name="www.test") == Served(
        fingerprint=fingerprint(pair),
        serial=f"{leaf(pair).serial_number:x}",
        not_after=leaf(pair).not_valid_after_utc,
        address=f"127.0.0.1:{port}",
    )
    server.stop()


def test_a_mail_server_does_not_take_a_look_for_a_session_that_was_lost(machine: Machine, prober: Prober) -> None:
    pair = pki.pair()
    put(machine, pair.fullchain, pair.privkey)
    server = set_up(machine, "postfix")
    server.start()
    prober.served(at(server.ports[0], StartTls.SMTP), server_name="www.test")
    log = machine.folder("/var/log/postfix.log")
    _until(lambda: "starttls=1 quit=1" in log.read_text())
    assert "lost connection after STARTTLS" not in log.read_text()
    server.stop()


@contextmanager
def nginx(machine: Machine, http: str, **pairs: Bundle) -> Iterator[int]:
    """An nginx with these blocks; `{name.crt}` and `{name.key}` are the files of the pairs."""
    folder = machine.folder("/etc/ssl/knit")
    folder.mkdir(exist_ok=True)
    for name, pair in pairs.items():
        (folder / f"{name}.crt").write_bytes(pair.fullchain)
        (folder / f"{name}.key").write_bytes(pair.privkey)
    first = pki.pair()
    put(machine, first.fullchain, first.privkey)
    server = set_up(machine, "nginx")
    port = free_port()
    server.write(lambda text: text.replace("    server {", http.replace("LISTEN", f"127.0.0.1:{port}") + "\nserver {"))
    server.start()
    yield port
    server.stop()


def block(name: str, *pairs: str, more: str = "") -> str:
    files = "".join(
        f"ssl_certificate /etc/ssl/knit/{pair}.crt; ssl_certificate_key /etc/ssl/knit/{pair}.key;" for pair in pairs
    )
    return f"server {{ listen LISTEN ssl; server_name {name}; {files} {more} }}"


@pytest.mark.parametrize("protocols", ["TLSv1.2", "TLSv1.3", "TLSv1.2 TLSv1.3"])
def test_of_two_certificates_for_one_name_the_one_of_the_wanted_kind_is_seen(
    machine: Machine, prober: Prober, protocols: str
) -> None:
    ec, rsa = pki.pair(), pki.pair(rsa=True)
    both = block("www.test", "ec", "rsa", more=f"ssl_protocols {protocols};")
    with nginx(machine, both, ec=ec, rsa=rsa) as port:
        for kind, pair in ((KeyKind.EC, ec), (KeyKind.RSA, rsa)):
            assert prober.served(at(port), server_name="www.test", key_kind=kind).fingerprint == fingerprint(pair)


def test_where_there_is_no_certificate_of_the_wanted_kind_the_one_that_is_shown_is_told(
    machine: Machine, prober: Prober
) -> None:
    rsa = pki.pair(rsa=True)
    with nginx(machine, block("www.test", "rsa"), rsa=rsa) as port:
        seen = prober.served(at(port), server_name="www.test", key_kind=KeyKind.EC)
        assert seen.fingerprint == fingerprint(rsa)


def test_a_server_of_many_names_is_asked_for_the_one_that_is_meant(machine: Machine, prober: Prober) -> None:
    first, second = pki.pair("first.test"), pki.pair("*.second.test")
    blocks = block("first.test", "first") + block("*.second.test", "second")
    with nginx(machine, blocks, first=first, second=second) as port:
        seen = {
            name: prober.served(at(port), server_name=name).fingerprint
            for name in ("first.test", "knit-probe.second.test", None)
        }
    assert seen == {
        "first.test": fingerprint(first),
        "knit-probe.second.test": fingerprint(second),
        None: fingerprint(first),
    }


def test_a_certificate_that_nobody_would_trust_is_seen_all_the_same(machine: Machine, prober: Prober) -> None:
    expired = pki.pair("other.test", age=30, days=10, self_issued=True)
    with nginx(machine, block("www.test", "expired"), expired=expired) as port:
        seen = prober.served(at(port), server_name="www.test")
    assert seen.fingerprint == fingerprint(expired)
    assert seen.not_after == leaf(expired).not_valid_after_utc
    assert seen.not_after < pki.NOW - timedelta(days=1)


Talk = Callable[[socket.socket], object]


@contextmanager
def talking(talk: Talk) -> Iterator[int]:
    """A server that talks so to each connection, and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def one(end: socket.socket) -> None:
            with end, suppress(OSError):
                talk(end)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def saying(*words: bytes, then: Talk = lambda end: end.recv(65536)) -> Talk:
    """Says the first, and each one after it when something has arrived."""

    def talk(end: socket.socket) -> None:
        for number, word in enumerate(words):
            if number:
                end.recv(65536)
            end.sendall(word)
        then(end)

    return talk


def reset(end: socket.socket) -> None:
    end.recv(1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dripping(what: bytes) -> Talk:
    def talk(end: socket.socket) -> None:
        for byte in what:
            end.sendall(bytes([byte]))
            time.sleep(0.05)

    return talk


def flooding(what: bytes) -> Talk:
    def talk(end: socket.socket) -> None:
        while True:
            end.sendall(what)

    return talk


def silent(end: socket.socket) -> None:
    while end.recv(65536):
        pass


RECORD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16380)
"""A handshake message that is never whole: a ServerHello of 16 kB, filled with zeros."""

EHLO = b"250-mail.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
BYE = b"\x30\x21\x02\x01\x00\x78\x1c\x0a\x01\x34\x04\x00\x04\x00\x8a\x13" + b"1.3.6.1.4.1.1466.20"
NOT_NOW = b"\x30\x14\x02\x01\x01\x78\x0f\x0a\x01\x34\x04\x00\x04\x08not now!"
MYSQL_PLAIN = b"\x0a5.5.5-10\0" + bytes(4) + b"12345678\0" + b"\x00\x02" + bytes(40)

TLS, SMTP, IMAP, POP3 = StartTls.NONE, StartTls.SMTP, StartTls.IMAP, StartTls.POP3
LDAP, POSTGRES, MYSQL = StartTls.LDAP, StartTls.POSTGRES, StartTls.MYSQL


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


HOSTILE: dict[str, tuple[StartTls, Talk, str]] = {
    "hangs up": (TLS, lambda end: end.recv(1 << 16), "closed the connection before it showed a certificate"),
    "resets": (TLS, reset, "broke off the connection before it showed a certificate"),
    "is silent": (TLS, silent, "showed no certificate within 1s"),
    "speaks HTTP": (TLS, saying(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS"),
    "speaks SMTP": (TLS, saying(b"220 mail.test ESMTP\r\n"), "does not speak TLS"),
    "drips": (TLS, dripping(RECORD), "showed no certificate within 1s"),
    "floods": (TLS, flooding(b"\x16\x03\x03\x00\x00" * 1000), "ends the TLS handshake"),
    "lies": (TLS, saying(b"", RECORD), "ends the TLS handshake"),
    "refuses": (TLS, saying(b"", b"\x15\x03\x01\x00\x02\x02\x28"), "ends the TLS handshake: handshake failure"),
    "knows no such name": (TLS, saying(b"", b"\x15\x03\x01\x00\x02\x02\x70"), "handshake: unrecognized name"),
    "SMTP: refuses": (SMTP, saying(b"554 go\x1b[31m away\r\n"), r"greets with: 554 go \[31m away"),
    "SMTP: no STARTTLS": (SMTP, saying(b"220 hi\r\n", b"250-STARTTLSX\r\n250 OK\r\n"), "offers no STARTTLS"),
    "SMTP: not now": (
        SMTP,
        saying(b"220-a\r\n220 b\r\n", EHLO, b"454 4.7.0 not now\r\n"),
        "STARTTLS with: 454 4.7.0 not",
    ),
    "SMTP: hangs up": (SMTP, saying(b"220 hi\r\n", EHLO, b"220 go\r\n"), "closed the connection before it showed"),
    "SMTP: goes on": (SMTP, saying(b"220 hi\r\n", EHLO, b"220 go\r\n250 more\r\n"), "goes on in plain text after"),
    "SMTP: long line": (SMTP, flooding(b"2" * 1000), "a line of more than 4096 bytes"),
    "SMTP: endless reply": (SMTP, flooding(b"220-hello\r\n" * 100), "sent more than 262144 bytes and no certificate"),
    "SMTP: drips": (SMTP, dripping(b"220 hello\r\n" * 100), "showed no certificate within 1s"),
    "SMTP: HTTP": (SMTP, saying(b"HTTP/1.1 408 Timeout\r\n\r\n"), "greets with: HTTP/1.1 408 Timeout"),
    "IMAP: bye": (IMAP, saying(b"* BYE overloaded\r\n"), "greets with: .* BYE overloaded"),
    "IMAP: no": (IMAP, saying(b"* OK hi\r\n", b"* CAPABILITY X\r\nk NO off\r\n"), "STARTTLS with: NO off"),
    "IMAP: bye later": (IMAP, saying(b"* OK hi\r\n", b"* BYE late\r\n"), "STARTTLS with: .* BYE late"),
    "POP3: refuses": (POP3, saying(b"-ERR in use\r\n"), "greets with: -ERR in use"),
    "POP3: no": (POP3, saying(b"+OK hi\r\n", b"-ERR unknown\r\n"), "STLS with: -ERR unknown"),
    "LDAP: not now": (LDAP, saying(b"", NOT_NOW), "StartTLS with result 52: not now!"),
    "LDAP: disconnects": (LDAP, saying(b"", BYE), "StartTLS with result 52"),
    "LDAP: nonsense": (LDAP, saying(b"", b"\x30\x03\x02\x01\x01"), "does not speak LDAP"),
    "LDAP: long": (LDAP, saying(b"", b"\x30\x84\xff\xff\xff\xff"), "does not speak LDAP"),
    "LDAP: HTTP": (LDAP, saying(b"", b"HTTP/1.1 400 Bad Request\r\n" * 9), "does not speak LDAP"),
    "PostgreSQL: no": (POSTGRES, saying(b"", b"N"), "offers no TLS"),
    "PostgreSQL: error": (
        POSTGRES,
        saying(b"", b"E\0\0\0\x0aSFATAL\0"),
        "does not speak PostgreSQL's protocol, or refuses",
    ),
    "PostgreSQL: goes on": (POSTGRES, saying(b"", b"SE\0\0\0"), "goes on in plain text after"),
    "MySQL: blocked": (MYSQL, saying(packet(b"\xff\x69\x04Host is blocked")), "answers with: Host is blocked"),
    "MySQL: no": (MYSQL, saying(packet(MYSQL_PLAIN)), "offers no TLS"),
    "MySQL: old": (MYSQL, saying(packet(b"\x09" + MYSQL_PLAIN[1:])), "does not speak MySQL's protocol"),
    "MySQL: empty": (MYSQL, saying(packet(b"")), "does not speak MySQL's protocol"),
    "MySQL: HTTP": (MYSQL, saying(b"HTTP/1.1 400 Bad\r\n"), "does not speak MySQL's protocol"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_server_that_shows_nothing_is_one_sentence_in_good_time(
    prober: Prober, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    starttls, talk, words = HOSTILE[name]
    monkeypatch.setattr(probe_module, "SECONDS", 1.0)
    with talking(talk) as port:
        started = time.monotonic()
        with pytest.raises(Transient, match=words) as seen:
            prober.served(at(port, starttls), server_name="www.test")
        assert time.monotonic() - started < 4
    text = str(seen.value)
    assert text.startswith(f"127.0.0.1:{port} ")
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize(
    ("connect", "words"),
    [
        ("127.0.0.1:{port}", "127.0.0.1:{port} refuses connections"),
        ("[::1]:{port}", "::1.*:{port} (refuses connections|cannot be connected to)"),
        ("{label}.test:{port}", "cannot be resolved: that is no host name"),
    ],
)
def test_a_server_that_is_not_there_is_one_sentence(prober: Prober, connect: str, words: str) -> None:
    port, label = free_port(), "x" * 70
    with pytest.raises(Transient, match=words.format(port=port)):
        prober.served(Probe(connect=connect.format(port=port, label=label)), server_name=None)


def test_a_name_that_cannot_be_asked_for_is_one_sentence(prober: Prober) -> None:
    with talking(silent) as port, pytest.raises(Transient, match=r"cannot be asked for x+: that is no server name"):
        prober.served(at(port), server_name="x" * 300)


def test_an_ipv6_address_is_told_in_brackets(prober: Prober) -> None:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(Transient, match=rf"\[::1\]:{port} (closed|broke off)"):
            prober.served(Probe(connect=f"[::1]:{port}"), server_name=None)


def test_each_look_is_a_single_connection() -> None:
    met: list[object] = []
    with talking(met.append) as port, closing(Prober(os.environ)) as prober, pytest.raises(Transient):
        prober.served(at(port), server_name=None, key_kind=KeyKind.RSA)
    assert len(met) == 1


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("os.abort()", "died of it"),
        ("time.sleep(60)", "showed no certificate within"),
        ("print(flush=True)", "died of it"),
        ("raise ImportError('no such library')", "cannot work: ImportError: no such library"),
    ],
)
def test_a_process_that_cannot_look_is_one_sentence_and_the_next_look_has_another(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    monkeypatch.setattr(probe_module, "SECONDS", 1.0)
    monkeypatch.setattr(probe_module, "STARTING", 1.0)
    mark = f"{tmp_path}/sick"
    sick = (
        "import builtins, os, time\nreal = builtins.__import__\n"
        "def importing(name, *rest, **more):\n"
        f"    if name == 'knit.node.handshake' and not os.path.exists({mark!r}):\n"
        f"        open({mark!r}, 'w').close()\n        {what}\n"
        "    return real(name, *rest, **more)\nbuiltins.__import__ = importing\n"
    )
    with open(f"{tmp_path}/sitecustomize.py", "w", encoding="utf-8") as file:  # noqa: PTH123 -- a name is at hand
        file.write(sick)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with closing(Prober(environment)) as prober, talking(saying(b"", b"HTTP/1.1 400\r\n")) as port:
        with pytest.raises(Transient, match=words):
            prober.served(at(port), server_name=None)
        with pytest.raises(Transient, match="does not speak TLS"):
            prober.served(at(port), server_name=None)


def test_no_process_is_left_when_enough_was_looked_at() -> None:
    prober = Prober(os.environ)
    with talking(reset) as port, pytest.raises(Transient):
        prober.served(at(port), server_name=None)
    (looker,) = prober._lookers.values()
    process = looker._process
    assert process.poll() is None
    prober.close()
    assert process.poll() is not None


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
