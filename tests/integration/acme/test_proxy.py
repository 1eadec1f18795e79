"""A CA behind a proxy, which alone knows where it is."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from knit.core import proxy
from knit.errors import Unreachable
from knit.issuers.acme import AcmeIssuer, Site
from rig.ports import free_port
from rig.scripted_ca import ScriptedCA
from rig.tunnels import Tunnels
from tests.integration.acme.parties import Memory, Notes, TrustingProver, Wanted, now

WANTED = Wanted(names=("knit.example", "*.knit.example"))


@pytest.fixture
def ca(ca: ScriptedCA) -> ScriptedCA:
    ca.script(other_host="ca.test")
    return ca


def issuer(ca: ScriptedCA, through: str, spared: str = "") -> AcmeIssuer:
    directory = ca.directory_url.replace("127.0.0.1", "ca.test")
    memory, proxies = Memory(), proxy.parse(through, spared)
    site = Site(name="acme", directory=directory, ca_files=(str(ca.ca_file),), proxies=proxies)
    return AcmeIssuer(site, memory, memory, now, time.sleep)


def issue(ca: ScriptedCA, through: str, spared: str = "") -> None:
    with closing(issuer(ca, through, spared)) as by_proxy:
        WANTED.check(by_proxy.issue(WANTED.request(), Notes(), TrustingProver()))


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://127.0.0.1:{port}/"])
def test_a_certificate_is_issued_through_it(ca: ScriptedCA, form: str) -> None:
    with closing(Tunnels()) as tunnels:
        issue(ca, form.format(port=tunnels.port))
    port = ca.directory_url.split("/")[2].rpartition(":")[2]
    assert set(tunnels.asked) == {f"ca.test:{port}"}
    assert ca.counts_of(*WANTED.names)["finalized"] == 1


def test_it_may_want_a_user_and_a_password(ca: ScriptedCA) -> None:
    with closing(Tunnels(login="user:pass:w@rd")) as tunnels:
        issue(ca, f"http://user:pass%3Aw%40rd@127.0.0.1:{tunnels.port}")
        with pytest.raises(Unreachable, match=r"HTTP 407: it wants another user and password") as caught:
            issue(ca, f"http://user:canary@127.0.0.1:{tunnels.port}")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not let us through .HTTP 403."),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "does not let us through .HTTP 502.|no answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer that makes sense"),
        (b"HTTP/1.1 200 OK\r\n", "no answer that makes sense"),
        (b"", "no answer that makes sense"),
        (b"HTTP/1.1 200 OK\r\nX: " + 20_000 * b"x", "no answer that makes sense"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "cannot be reached"),
    ],
)
def test_one_that_does_not_let_us_through_is_named(ca: ScriptedCA, answer: bytes, said: str) -> None:
    with closing(Tunnels(answer=answer)) as tunnels, pytest.raises(Unreachable, match=said):
        issue(ca, f"http://127.0.0.1:{tunnels.port}")


def test_one_that_is_not_there_is_named(ca: ScriptedCA) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"the proxy at 127.0.0.1:{port}: Connection refused"):
        issue(ca, f"http://127.0.0.1:{port}")


def test_a_ca_that_is_spared_is_reached_without_it(ca: ScriptedCA) -> None:
    ca.script(other_host="")
    with closing(Tunnels()) as tunnels:
        memory = Memory()
        proxies = proxy.parse(f"http://127.0.0.1:{tunnels.port}", "")
        site = Site(name="acme", directory=ca.directory_url, ca_files=(str(ca.ca_file),), proxies=proxies)
        with closing(AcmeIssuer(site, memory, memory, now, time.sleep)) as direct:
            WANTED.check(direct.issue(WANTED.request(), Notes(), TrustingProver()))
        with pytest.raises(Unreachable, match="cannot be reached"):
            issue(ca, f"http://127.0.0.1:{tunnels.port}", "other.example,.test")
    assert tunnels.asked == []
