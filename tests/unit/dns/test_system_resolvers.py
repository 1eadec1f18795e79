"""Whatever /etc/resolv.conf holds, there are resolvers to ask."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knit.core.servers import Address
from knit.dns.query import resolved, system_resolvers

LAST_RESORT = (Address("1.1.1.1"), Address("1.0.0.1"))
FRAGMENTS = (
    b"nameserver",
    b" ",
    b"\t",
    b"\n",
    b"localhost",
    b"192.0.2.1",
    b"fe80::1%lo",
    b"\0",
    b"\xff",
    b"options",
    b"#",
)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (b"nameserver localhost\nnameserver 192.0.2.7\n", (Address("192.0.2.7"),)),
        (b"nameserver 300.1.1.1\nnameserver\nnameserver 192.0.2.7:53\n", LAST_RESORT),
        (b"\xff\xfe\nnameserver 2001:db8::1 # the house's\noptions ndots:x timeout:\n", (Address("2001:db8::1"),)),
        (b"; nameserver 192.0.2.8\nnameserver 192.0.2.7\nnameserver 192.0.2.7\n", (Address("192.0.2.7"),)),
        (b"", LAST_RESORT),
    ],
)
def test_lines_that_name_no_address_are_passed_over(tmp_path: Path, held: bytes, expected: tuple[Address, ...]) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_bytes(held)

    assert system_resolvers(conf) == expected


def test_a_file_that_cannot_be_read_names_none(tmp_path: Path) -> None:
    assert system_resolvers(tmp_path) == LAST_RESORT
    assert system_resolvers(tmp_path / "absent") == LAST_RESORT


def test_of_a_file_without_an_end_the_beginning_is_read(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_bytes(b"nameserver 192.0.2.7\n" + b"#" * 2**20 + b"\nnameserver 192.0.2.8\n")

    assert system_resolvers(conf) == (Address("192.0.2.7"),)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=30).map(b"".join))
def test_no_bytes_of_the_file_are_an_error(tmp_path: Path, held: bytes) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_bytes(held)

    assert system_resolvers(conf)


def test_a_resolver_given_by_name_is_asked_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        family = (socket.AF_INET6, socket.AF_INET6, socket.AF_INET)
        found = ((host_of, port) for host_of in ("2001:db8::1", "2001:db8::1", "192.0.2.1"))
        return [(kind, socket.SOCK_DGRAM, 17, "", address) for kind, address in zip(family, found, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert resolved("resolver.example:5353") == (Address("2001:db8::1", 5353), Address("192.0.2.1", 5353))
