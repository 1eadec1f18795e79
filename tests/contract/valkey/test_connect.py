from __future__ import annotations

import pytest

from knit.errors import Misconfigured
from knit.valkey.connect import check_keeps_values, connect, same_server
from tests.rig.valkey import Valkey


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_every_scheme_for_tcp_is_understood(valkey: Valkey, scheme: str) -> None:
    link = connect(valkey.url.replace("redis", scheme, 1), name="knit-test")
    with link.talking() as client:
        assert client.ping()
    link.close()


def test_a_unix_socket_is_understood(valkey: Valkey) -> None:
    link = connect(valkey.unix_url, name="knit-test")
    with link.talking() as client:
        assert client.ping()
    assert link.where == str(valkey.socket)
    link.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://:s3cret@host",
        "redis://:s3cret@host:port/0",
        "redis://:s3cret@[::1/0",
        "redis://:s3cret@h:99999",
    ],
)
def test_a_bad_url_is_misconfigured_and_not_quoted(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        connect(url, name="knit-test")
    assert "s3cret" not in str(caught.value)


def test_a_link_does_not_show_the_password() -> None:
    link = connect("valkeys://user:s3cret@host:1234/2?ssl_ca_certs=/ca.pem", name="knit-test")
    assert link.where == "host:1234"
    assert "s3cret" not in repr(link.where)


def test_two_urls_of_one_server_are_recognised(valkey: Valkey, queue_valkey: Valkey) -> None:
    links = [
        connect(url, name="knit-test")
        for url in (valkey.url, valkey.unix_url, valkey.url_of(database=3), queue_valkey.url)
    ]
    assert same_server(links[0], links[1])
    assert same_server(links[0], links[2])
    assert not same_server(links[0], links[3])
    for link in links:
        link.close()


def test_a_server_that_evicts_is_refused_and_one_that_could_is_warned_about(own_valkey: Valkey) -> None:
    link = connect(own_valkey.url, name="knit-test")
    assert check_keeps_values(link) == []
    link.client.config_set("maxmemory-policy", "allkeys-lru")
    assert [warning for warning in check_keeps_values(link) if "allkeys-lru" in warning]
    link.client.config_set("maxmemory", "100mb")
    with pytest.raises(Misconfigured, match="noeviction"):
        check_keeps_values(link)
    link.client.config_set("maxmemory-policy", "noeviction")
    link.client.config_set("appendonly", "no")
    assert [warning for warning in check_keeps_values(link) if "appendonly" in warning]
    link.close()
