"""Dynamic updates against a real Knot DNS and a real BIND."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dns.exception
import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import pytest
from dns.rdtypes.ANY.TXT import TXT
from dns.update import UpdateMessage
from hypothesis import given
from hypothesis import strategies as st

from knit.core.model.challenge import Record
from knit.errors import CredentialsRejected, Misconfigured, Refused, Unreachable
from knit.ports.solving import Solver
from knit.providers import dnsupdate
from knit.providers.base import Runtime, Values
from rig import binaries
from rig.bind import Bind
from rig.knot import Knot
from rig.ports import free_port
from tests.fix_rig import running
from tests.integration.dns.conftest import challenge, record

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)


Server = Knot | Bind


@pytest.fixture(
    scope="module",
    params=[(Knot, "hmac-sha256"), (Knot, "hmac-sha1"), (Knot, "hmac-sha512"), (Bind, "hmac-sha256")],
    ids=lambda param: f"{param[0].__name__}-{param[1]}",
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    make, algorithm = request.param
    yield from running(lambda: make("knit.example", algorithm=algorithm))


def settings(server: Server, **changed: str) -> dict[str, str]:
    given = {
        "DNSUPDATE_NAMESERVER": server.address,
        "DNSUPDATE_TSIG_KEY": server.key.name,
        "DNSUPDATE_TSIG_SECRET": server.key.secret,
        "DNSUPDATE_TSIG_ALGORITHM": f"{server.key.algorithm}.",
        "DNSUPDATE_DNS_TIMEOUT": "2",
    }
    return {name: value for name, value in (given | changed).items() if value}


def solver(server: Server, **changed: str) -> Solver:
    return dnsupdate.PROVIDER.solver(Values(settings(server, **changed)), RUNTIME)


def test_two_values_at_one_name_live_side_by_side_and_go_one_by_one(server: Server) -> None:
    one, two = record("one"), record("two")
    updates = solver(server)
    updates.present(one)
    updates.present(two)
    updates.present(two)
    assert server.txt(one.fqdn) == ["one", "two"]
    updates.cleanup(one, None)
    assert server.txt(one.fqdn) == ["two"]
    updates.cleanup(one, None)
    updates.cleanup(two, None)
    assert server.txt(one.fqdn) == []


def test_a_value_with_quotes_and_backslashes_is_kept_as_it_is(server: Server) -> None:
    odd = record('a"b\\c d')
    solver(server).present(odd)
    assert server.txt(odd.fqdn) == ['a"b\\c d']
    solver(server).cleanup(odd, None)
    assert server.txt(odd.fqdn) == []


LABELS = st.lists(st.from_regex(r"[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), min_size=1, max_size=6)


@given(labels=LABELS, cut=st.integers(0, 5), value=st.text(st.characters(max_codepoint=0x7E), max_size=255))
def test_the_library_reads_in_an_update_what_was_meant(labels: list[str], cut: int, value: str) -> None:
    fqdn, zone = ".".join(labels), ".".join(labels[min(cut, len(labels) - 1) :])
    wanted = Record(challenge=challenge(fqdn, value), fqdn=fqdn, zone=zone)
    key = dns.tsig.Key("knit-key.", "c2VjcmV0", "hmac-sha256.")
    txt = TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value.encode()])
    changes: dict[dns.rdataclass.RdataClass, Callable[[UpdateMessage], None]] = {
        dns.rdataclass.IN: lambda theirs: theirs.add(f"{fqdn}.", 120, txt),
        dns.rdataclass.NONE: lambda theirs: theirs.delete(f"{fqdn}.", txt),
    }
    for rdclass, change in changes.items():
        ours = dnsupdate.message(zone, wanted, rdclass, 120 if rdclass == dns.rdataclass.IN else 0)
        wire, mac = dnsupdate.signed(ours, key, datetime.now(UTC))
        theirs = UpdateMessage(f"{zone}.", id=int.from_bytes(ours[:2]))
        change(theirs)
        read = dns.message.from_wire(wire, keyring=key)
        assert dns.message.from_wire(ours) == theirs
        assert (read.keyname, read.mac) == (key.name, mac)
        assert read.sections == theirs.sections


Answer = tuple[bytes, dns.tsig.Key, bytes]
SIGNED = (*range(2, 19), *range(-38, -6))
"""Places of what the signature covers, and of the signature itself."""


@pytest.fixture(scope="module")
def exchanged() -> Answer:
    """The answer to an update as the library signs it, the key, and the MAC of the request."""
    key = dns.tsig.Key("knit-key.", "c2VjcmV0", "hmac-sha256.")
    update, mac = dnsupdate.signed(dnsupdate.message("a", record("v"), dns.rdataclass.IN, 1), key, datetime.now(UTC))
    return dns.message.make_response(dns.message.from_wire(update, keyring=key)).to_wire(), key, mac


def test_an_answer_that_the_library_has_signed_verifies(exchanged: Answer) -> None:
    dnsupdate.verify(*exchanged, datetime.now(UTC))


@given(place=st.sampled_from(SIGNED), bit=st.integers(0, 7))
def test_an_answer_with_another_bit_does_not(exchanged: Answer, place: int, bit: int) -> None:
    answer, key, mac = exchanged
    changed = bytearray(answer)
    changed[place] ^= 1 << bit
    with pytest.raises((dns.exception.DNSException, ValueError)):
        dnsupdate.verify(bytes(changed), key, mac, datetime.now(UTC))


def test_an_answer_without_what_signs_it_does_not(exchanged: Answer) -> None:
    answer, key, mac = exchanged
    unsigned = answer[:10] + b"\0\0" + answer[12:19]
    another = answer.replace(b"\x00\xfa\x00\xff", b"\x00\x10\x00\xff")
    for shown in (unsigned, another, answer[:-40], answer + b"\0", answer[:9]):
        with pytest.raises(dns.exception.DNSException):
            dnsupdate.verify(shown, key, mac, datetime.now(UTC))


def test_a_wrong_secret_is_a_rejected_credential(server: Server) -> None:
    with pytest.raises(CredentialsRejected, match="wrong TSIG secret"):
        solver(server, DNSUPDATE_TSIG_SECRET="d3Jvbmcgc2VjcmV0IGZvciB0c2ln").present(record("x"))


def test_an_unknown_key_is_a_rejected_credential(server: Server) -> None:
    with pytest.raises(CredentialsRejected, match="TSIG key"):
        solver(server, DNSUPDATE_TSIG_KEY="other.").present(record("x"))


def test_an_unsigned_update_is_told_to_sign(server: Server) -> None:
    with pytest.raises(CredentialsRejected, match="DNSUPDATE_TSIG_KEY"):
        solver(server, DNSUPDATE_TSIG_KEY="").present(record("x"))


def test_a_zone_the_server_does_not_hold_is_named(server: Server) -> None:
    with pytest.raises((CredentialsRejected, Refused), match=r"elsewhere\.example"):
        solver(server).present(record("x", zone="elsewhere.example"))


def test_a_configured_zone_goes_before_the_one_the_dns_shows(server: Server) -> None:
    wrong_cut = Record(challenge=challenge("a.knit.example", "v"), fqdn="_acme-challenge.a.knit.example", zone="a.b")
    updates = solver(server, DNSUPDATE_ZONES="example, knit.example.")
    updates.present(wrong_cut)
    assert server.txt(wrong_cut.fqdn) == ["v"]
    updates.cleanup(wrong_cut, None)


def test_without_zones_the_server_itself_says_which_it_has(server: Server) -> None:
    for zone in ("example", "a.knit.example", "elsewhere.test"):
        elsewhere = Record(challenge=challenge("a.knit.example", "v"), fqdn="_acme-challenge.a.knit.example", zone=zone)
        updates = solver(server)
        updates.present(elsewhere)
        assert server.txt(elsewhere.fqdn) == ["v"]
        updates.cleanup(elsewhere, None)


@contextmanager
def only_udp(server: Server, *, loses: int = 0) -> Iterator[str]:
    """An address where datagrams reach the server, the first `loses` excepted, and no connection is taken."""
    host, port = server.address.rsplit(":", 1)
    with socket.socket(type=socket.SOCK_DGRAM) as front:
        front.bind(("127.0.0.1", 0))
        front.settimeout(0.05)
        done = threading.Event()

        def forward() -> None:
            left = loses
            while not done.is_set():
                try:
                    data, asker = front.recvfrom(65535)
                except TimeoutError:
                    continue
                if left:
                    left -= 1
                    continue
                with socket.socket(type=socket.SOCK_DGRAM) as back:
                    back.settimeout(2)
                    back.sendto(data, (host, int(port)))
                    front.sendto(back.recv(65535), asker)

        thread = threading.Thread(target=forward)
        thread.start()
        try:
            yield f"127.0.0.1:{front.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("loses", [0, 1])
def test_a_server_that_takes_datagrams_only_is_served(server: Server, loses: int) -> None:
    with only_udp(server, loses=loses) as address:
        updates = solver(server, DNSUPDATE_NAMESERVER=address)
        updates.present(record("v", "datagrams"))
        assert server.txt(record("v", "datagrams").fqdn) == ["v"]
        updates.cleanup(record("v", "datagrams"), None)
        assert server.txt(record("v", "datagrams").fqdn) == []


def two_addresses(monkeypatch: pytest.MonkeyPatch, first: str, second: str) -> str:
    """A server's name that has two addresses, both at the port of the second."""
    host, port = second.rsplit(":", 1)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, int(port))) for each in (first, host)]
    real = socket.getaddrinfo

    def answer(name: str, *more: object, **other: object) -> object:
        return found if name == "two.test" else real(name, *more, **other)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return f"two.test:{port}"


def test_datagrams_are_sent_to_each_address_of_a_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_udp(server) as address:
        updates = solver(server, DNSUPDATE_NAMESERVER=two_addresses(monkeypatch, "127.0.0.2", address))
        updates.present(record("v", "second"))
        assert server.txt(record("v", "second").fqdn) == ["v"]
        updates.cleanup(record("v", "second"), None)


def test_an_address_that_takes_connections_and_says_nothing_leaves_the_next_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.address.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.2", port)):
        named = two_addresses(monkeypatch, "127.0.0.2", server.address)
        updates = solver(server, DNSUPDATE_NAMESERVER=named, DNSUPDATE_DNS_TIMEOUT="1")
        updates.present(record("v", "silent"))
        assert server.txt(record("v", "silent").fqdn) == ["v"]
        updates.cleanup(record("v", "silent"), None)


def test_names_are_proved_one_by_one_only_when_the_user_says_so(server: Server) -> None:
    def pause(**changed: str) -> float | None:
        made = solver(server, **changed)
        assert isinstance(made, dnsupdate.DnsUpdate)
        return made.pause

    assert pause() is None
    assert pause(DNSUPDATE_SEQUENCE_INTERVAL="60") == 60
    assert pause(RFC2136_SEQUENCE_INTERVAL="0") == 0


@pytest.mark.parametrize("name", ["DNSUPDATE_TIMEOUT", "RFC2136_TIMEOUT", "DNSUPDATE_PROPAGATION_TIMEOUT"])
def test_the_old_name_of_the_propagation_timeout_counts(server: Server, name: str) -> None:
    assert solver(server, **{name: "77"}).timeout == 77


def test_a_key_file_as_tsig_keygen_writes_it_is_enough(server: Server, tmp_path: Path) -> None:
    key = server.key
    file = tmp_path / "key.conf"
    file.write_text(f'key "{key.name}" {{\n\talgorithm {key.algorithm};\n\tsecret "{key.secret}";\n}};\n')
    given = {"RFC2136_NAMESERVER": server.address, "RFC2136_TSIG_FILE": str(file)}
    updates = dnsupdate.PROVIDER.solver(Values(given), RUNTIME)
    updates.present(record("v", "file"))
    assert server.txt("_acme-challenge.file.knit.example") == ["v"]
    updates.cleanup(record("v", "file"), None)


def test_a_file_that_tsig_keygen_writes_is_read(server: Server, tmp_path: Path) -> None:
    bind = binaries.bind()
    command = [bind.path("tsig-keygen"), "-a", "hmac-sha512", "stranger"]
    file = tmp_path / "key.conf"
    file.write_bytes(subprocess.run(command, env=dict(bind.environment), capture_output=True, check=True).stdout)
    given = {"DNSUPDATE_NAMESERVER": server.address, "DNSUPDATE_TSIG_FILE": str(file)}
    with pytest.raises(CredentialsRejected, match="does not know the TSIG key"):
        dnsupdate.PROVIDER.solver(Values(given), RUNTIME).present(record("x"))


def test_the_algorithm_is_lego_s_default_when_none_is_set() -> None:
    for server in running(lambda: Knot("knit.example", algorithm="hmac-sha1")):
        solver(server, DNSUPDATE_TSIG_ALGORITHM="").present(record("v"))
        assert server.txt(record("v").fqdn) == ["v"]


def test_a_server_that_is_not_there_is_unreachable() -> None:
    given = {"DNSUPDATE_NAMESERVER": f"127.0.0.1:{free_port()}"}
    with pytest.raises(Unreachable, match="refused"):
        dnsupdate.PROVIDER.solver(Values(given), RUNTIME).present(record("v"))


def test_a_server_that_accepts_and_says_nothing_is_unreachable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = {"DNSUPDATE_NAMESERVER": f"127.0.0.1:{silent.getsockname()[1]}", "DNSUPDATE_DNS_TIMEOUT": "1"}
        with pytest.raises(Unreachable, match="no answer in time"):
            dnsupdate.PROVIDER.solver(Values(given), RUNTIME).present(record("v"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DNSUPDATE_TSIG_ALGORITHM", "hmac-sha3"),
        ("DNSUPDATE_TSIG_SECRET", "not base64!"),
        ("DNSUPDATE_TTL", "soon"),
        ("DNSUPDATE_PROPAGATION_TIMEOUT", "0"),
        ("DNSUPDATE_TSIG_FILE", "/does/not/exist"),
        ("DNSUPDATE_TSIG_GSS_REALM", "EXAMPLE.ORG"),
        ("RFC2136_TSIG_GSS_KEYTAB_FILE", "/etc/krb5.keytab"),
        ("DNSUPDATE_TSIG_GSS_PASSWORD", "not base64!"),
        ("DNSUPDATE_TSIG_ALGORITHM", "gss-tsig."),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(name: str, value: str) -> None:
    given = {
        "DNSUPDATE_NAMESERVER": "127.0.0.1",
        "DNSUPDATE_TSIG_KEY": "k",
        "DNSUPDATE_TSIG_SECRET": "c2VjcmV0",
        name: value,
    }
    with pytest.raises(Misconfigured, match=name) as caught:
        dnsupdate.PROVIDER.solver(Values(given), RUNTIME)
    assert given["DNSUPDATE_TSIG_SECRET"] not in str(caught.value)
