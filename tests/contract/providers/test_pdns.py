"""PowerDNS keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import Misconfigured
from knit.ports.solving import Timing
from knit.providers import pdns
from knit.providers.base import Runtime, Values
from rig.dns_api.pdns import FakePdns
from rig.dns_api.server import json_response
from tests.contract.providers.suite import FOREIGN, ONE, Case, SolverContract, record


class TestPdns(SolverContract):
    case = Case(
        provider=pdns.PROVIDER,
        fake=FakePdns,
        credentials={"PDNS_API_KEY": FakePdns.key, "PDNS_API_URL": "https://pdns.example:8081/"},
        secrets=(FakePdns.key,),
        foreign=(
            *({"content": text, "disabled": False} for text in FOREIGN),
            {"content": '"off"', "disabled": True},
            {"content": '"later server"', "disabled": False, "modified_at": 1751000000},
        ),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> pdns.PowerDns:
        return pdns.PowerDns(pdns.Server(url=url, key=FakePdns.key), timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> pdns.PowerDns:
        return pdns.PowerDns(pdns.Server(url=url, key="another"), timing, runtime)

    def test_the_ttl_of_a_set_that_is_there_stays(self, api: FakePdns, solver: pdns.PowerDns) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        solver.present(ONE)
        assert api.zones["example.org."][f"{ONE.fqdn}."]["ttl"] == 77

    def test_a_value_that_is_switched_off_is_switched_on(self, api: FakePdns, solver: pdns.PowerDns) -> None:
        api.seed("example.org", ONE.fqdn, ONE.value)
        api.zones["example.org."][f"{ONE.fqdn}."]["records"][0]["disabled"] = True
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_a_foreign_value_that_is_switched_off_stays_so(self, api: FakePdns, solver: pdns.PowerDns) -> None:
        api.seed("example.org", ONE.fqdn, "off")
        api.zones["example.org."][f"{ONE.fqdn}."]["records"][0]["disabled"] = True
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        solver.cleanup(ONE, None)
        kept = api.zones["example.org."][f"{ONE.fqdn}."]["records"]
        assert kept == [{"content": '"off"', "disabled": True}]

    def test_secondaries_of_a_primary_are_notified_even_when_nothing_had_to_be_written(
        self, api: FakePdns, solver: pdns.PowerDns
    ) -> None:
        api.kind = "Master"
        solver.present(ONE)
        solver.present(ONE)
        assert api.notified == ["example.org."] * 2

    def test_an_older_server_s_422_for_an_unknown_zone_is_a_zone_it_lacks(
        self, api: FakePdns, solver: pdns.PowerDns
    ) -> None:
        said = {"error": "Could not find domain 'www.example.org.'"}
        below = record("value", ONE.fqdn, zone="www.example.org")
        api.fail(json_response(said, 422))
        solver.present(below)
        assert api.values(ONE.fqdn) == ["value"]

    def test_an_api_version_that_there_is_not_is_named(self, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match="PDNS_API_VERSION"):
            pdns.PROVIDER.solver(Values({**self.case.credentials, "PDNS_API_VERSION": "2"}), runtime)
