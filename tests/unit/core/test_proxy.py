"""HTTPS_PROXY and NO_PROXY."""

from __future__ import annotations

import pytest

from knit.core.proxy import Proxy, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example:3128", Proxy(host="proxy.example", port=3128)),
        ("proxy.example:3128", Proxy(host="proxy.example", port=3128)),
        ("HTTP://proxy.example", Proxy(host="proxy.example", port=80)),
        ("http://[2001:db8::1]:8080/", Proxy(host="2001:db8::1", port=8080)),
        ("http://u:p%40ss@proxy.example", Proxy(host="proxy.example", port=80, credentials="Basic dTpwQHNz")),
        ("http://u@proxy.example", Proxy(host="proxy.example", port=80, credentials="Basic dTo=")),
    ],
)
def test_a_proxy_is_read_as_go_reads_it(text: str, expected: Proxy) -> None:
    assert parse(text, "").through == expected
    assert "dTp" not in repr(parse(text, ""))


@pytest.mark.parametrize(
    "text", ["https://canary", "socks5://canary:1080", "http://", "http://canary, other", "http://u:canary @x"]
)
def test_what_is_not_served_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text, "")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("spared", "host", "port", "is_spared"),
    [
        ("", "ca.example", 443, False),
        ("*", "ca.example", 443, True),
        ("ca.example", "ca.example", 443, True),
        ("ca.example", "CA.example.", 443, True),
        ("ca.example", "acme.ca.example", 443, True),
        ("ca.example", "notca.example", 443, False),
        (".ca.example", "acme.ca.example", 443, True),
        (".ca.example", "ca.example", 443, False),
        ("*.ca.example", "acme.ca.example", 443, True),
        ("x, CA.example ,y", "ca.example", 443, True),
        ("ca.example:8443", "ca.example", 443, False),
        ("ca.example:8443", "ca.example", 8443, True),
        ("192.0.2.0/24", "192.0.2.7", 443, True),
        ("192.0.2.0/24", "192.0.3.7", 443, False),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7:443", "192.0.2.7", 443, True),
        ("2001:db8::/32", "2001:db8::5", 443, True),
        ("[2001:db8::5]:443", "2001:db8::5", 443, True),
        ("", "localhost", 443, True),
        ("", "127.0.0.1", 443, True),
        ("", "::1", 443, True),
    ],
)
def test_what_no_proxy_names_is_spared_and_this_machine_always(
    spared: str, host: str, port: int, *, is_spared: bool
) -> None:
    assert (parse("http://proxy.example", spared).of(host, port) is None) is is_spared


def test_without_a_proxy_there_is_none() -> None:
    assert parse("", "ca.example").of("other.example", 443) is None
