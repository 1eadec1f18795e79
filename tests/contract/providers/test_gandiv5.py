"""Gandi LiveDNS keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import gandiv5
from knit.providers.base import Runtime
from rig.dns_api.gandiv5 import FakeGandi
from tests.contract.providers.suite import FOREIGN, ONE, TIMING, Case, SolverContract


class TestGandi(SolverContract):
    case = Case(
        provider=gandiv5.PROVIDER,
        fake=FakeGandi,
        credentials={"GANDIV5_PERSONAL_ACCESS_TOKEN": FakeGandi.token},
        secrets=(FakeGandi.token,),
        foreign=FOREIGN,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> gandiv5.Gandi:
        return gandiv5.Gandi(FakeGandi.token, "Bearer", timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> gandiv5.Gandi:
        return gandiv5.Gandi("another", "Bearer", timing, runtime, url=url)

    def test_the_older_kind_of_key_works_too(self, api: FakeGandi, runtime: Runtime) -> None:
        gandiv5.Gandi(FakeGandi.key, "Apikey", TIMING, runtime, url=api.url).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_values_beside_ours_keep_their_ttl(self, api: FakeGandi, runtime: Runtime) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        self.build(api.url, TIMING, runtime).present(ONE)
        assert api.ttls["example.org", "_acme-challenge.www"] == 10800
