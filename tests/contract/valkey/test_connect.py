from __future__ import annotations

from contextlib import closing

import pytest

from knit.errors import Misconfigured, Refused
from knit.valkey.connect import check_keeps_values, connect, same_server
from rig.valkey import Valkey


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


@pytest.mark.parametrize(
    "options",
    ["dial_timeout=5s", "read_timeout=500ms&write_timeout=3", "pool_size=10&max_retries=-1", "protocol=3&db=2", "db="],
)
def test_options_of_go_redis_are_taken(valkey: Valkey, options: str) -> None:
    link = connect(f"{valkey.url.rstrip('/')}?{options}", name="knit-test")
    with link.talking() as client:
        assert client.ping()
    link.close()


def test_timeouts_of_the_url_are_obeyed() -> None:
    link = connect("redis://h?dial_timeout=250ms&read_timeout=2", name="knit-test")
    arguments = link.client.connection_pool.connection_kwargs
    assert (arguments["socket_connect_timeout"], arguments["socket_timeout"]) == (0.25, 2.0)
    link.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/live",
        "redis://h/-1",
        "redis://h/0/1",
        "redis://h/99999999999",
        "redis://h1,h2/0",
        "redis://h/0?dial_timeout=soon",
        "redis://h/0?dial_timeout=-1",
        "redis://h/0?no_such=1",
        "redis://h/0?ssl_cert_reqs=perhaps",
        "redis://h?protocol=x",
        "unix://",
        "unix://host/socket",
    ],
)
def test_what_is_not_taken_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        connect(url, name="knit-test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [99, 500])
def test_a_database_that_is_not_there_is_said_to_be_missing(valkey: Valkey, number: int) -> None:
    url = f"{valkey.url.rpartition('/')[0]}/{number}"
    said = pytest.raises(Refused, match=f"has no database {number}$")
    with closing(connect(url, name="knit-test")) as link, said, link.talking() as client:
        client.ping()
