"""GoDaddy keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import Refused
from knit.ports.solving import Timing
from knit.providers import godaddy
from knit.providers.base import Runtime
from rig.dns_api.godaddy import FakeGoDaddy
from rig.dns_api.server import json_response
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract


class TestGoDaddy(SolverContract):
    case = Case(
        provider=godaddy.PROVIDER,
        fake=FakeGoDaddy,
        credentials={"GODADDY_API_KEY": FakeGoDaddy.key, "GODADDY_API_SECRET": FakeGoDaddy.secret},
        secrets=(FakeGoDaddy.key, FakeGoDaddy.secret),
        foreign=(
            {"data": r"caf\195\169", "ttl": 3600},
            {"data": "a" * 255, "ttl": 700},
            {"data": "caf\u00e9", "ttl": 3600},
        ),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> godaddy.GoDaddy:
        return godaddy.GoDaddy(FakeGoDaddy.key, FakeGoDaddy.secret, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> godaddy.GoDaddy:
        return godaddy.GoDaddy(FakeGoDaddy.key, "another", timing, runtime, url=url)

    def test_a_duplicate_that_appeared_between_look_and_write_is_done(self, api: FakeGoDaddy, runtime: Runtime) -> None:
        duplicate = {"code": "DUPLICATE_RECORD", "message": "Another record with the same attributes already exists"}
        api.fail(json_response(duplicate, 422), match=api.is_write)
        self.build(api.url, TIMING, runtime).present(ONE)

    def test_another_422_is_refused_in_godaddy_s_words(self, api: FakeGoDaddy, runtime: Runtime) -> None:
        api.fail(json_response({"code": "INVALID_BODY", "message": "too many records"}, 422), match=api.is_write)
        with pytest.raises(Refused, match="too many records"):
            self.build(api.url, TIMING, runtime).present(ONE)

    def test_values_beside_ours_keep_their_ttl(self, api: FakeGoDaddy, runtime: Runtime) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        solver = self.build(api.url, TIMING, runtime)
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert api.zones["example.org"]["_acme-challenge.www"] == [{"data": "foreign", "ttl": 3600}]

    def test_an_empty_row_is_not_written_back(self, api: FakeGoDaddy, runtime: Runtime) -> None:
        api.seed("example.org", ONE.fqdn, "")
        api.seed("example.org", ONE.fqdn, "foreign")
        solver = self.build(api.url, TIMING, runtime)
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == ["foreign"]

    def test_a_name_with_nothing_but_an_empty_row_is_cleared(self, api: FakeGoDaddy, runtime: Runtime) -> None:
        api.seed("example.org", ONE.fqdn, "")
        solver = self.build(api.url, TIMING, runtime)
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert api.values(ONE.fqdn) == []
