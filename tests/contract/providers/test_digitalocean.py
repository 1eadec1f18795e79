"""DigitalOcean keeps the solver contract."""

from __future__ import annotations

from knit.ports.solving import Timing
from knit.providers import digitalocean
from knit.providers.base import Runtime, Values
from rig.dns_api.digitalocean import FakeDigitalOcean
from tests.contract.providers.suite import NOW, ONE, Case, SolverContract


class TestDigitalOcean(SolverContract):
    case = Case(
        provider=digitalocean.PROVIDER,
        fake=FakeDigitalOcean,
        credentials={"DO_AUTH_TOKEN": FakeDigitalOcean.token},
        secrets=(FakeDigitalOcean.token,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> digitalocean.DigitalOcean:
        return digitalocean.DigitalOcean(FakeDigitalOcean.token, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> digitalocean.DigitalOcean:
        return digitalocean.DigitalOcean("another", timing, runtime, url=url)


def test_a_value_that_a_lost_answer_left_twice_is_removed_entirely() -> None:
    api = FakeDigitalOcean()
    with api.serving() as url:
        api.add_zone("example.org")
        for _ in range(3):
            api.seed("example.org", ONE.fqdn, ONE.value)
        runtime = Runtime(clock=lambda: NOW, sleep=lambda _: None)
        digitalocean.PROVIDER.solver(
            Values({"DO_AUTH_TOKEN": FakeDigitalOcean.token, "DO_API_URL": url}), runtime
        ).cleanup(ONE, {})
    assert api.values(ONE.fqdn) == []
