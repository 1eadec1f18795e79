"""Linode keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import linode
from knit.providers.base import Runtime
from rig.dns_api.linode import FakeLinode
from tests.contract.providers.suite import NOW, ONE, TIMING, Case, SolverContract


class TestLinode(SolverContract):
    case = Case(
        provider=linode.PROVIDER,
        fake=FakeLinode,
        credentials={"LINODE_TOKEN": FakeLinode.token},
        secrets=(FakeLinode.token,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> linode.Linode:
        return linode.Linode(FakeLinode.token, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> linode.Linode:
        return linode.Linode("another", timing, runtime, url=url)


def test_a_value_behind_a_page_of_others_is_found() -> None:
    api = FakeLinode()
    runtime = Runtime(clock=lambda: NOW, sleep=lambda _: None)
    with api.serving() as url:
        api.add_zone("example.org")
        for value in ("one", "two", "three", ONE.value):
            api.seed("example.org", ONE.fqdn, value)
        linode.Linode(FakeLinode.token, TIMING, runtime, url=url).cleanup(ONE, None)
    assert api.values(ONE.fqdn) == ["one", "two", "three"]
