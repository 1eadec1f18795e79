"""Porkbun keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import CredentialsRejected
from knit.ports.solving import Timing
from knit.providers import porkbun
from knit.providers.base import Runtime
from rig.dns_api.porkbun import FakePorkbun
from rig.dns_api.server import json_response
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract


class TestPorkbun(SolverContract):
    case = Case(
        provider=porkbun.PROVIDER,
        fake=FakePorkbun,
        credentials={"PORKBUN_API_KEY": FakePorkbun.key, "PORKBUN_SECRET_API_KEY": FakePorkbun.secret},
        secrets=(FakePorkbun.key, FakePorkbun.secret),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> porkbun.Porkbun:
        return porkbun.Porkbun(FakePorkbun.key, FakePorkbun.secret, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> porkbun.Porkbun:
        return porkbun.Porkbun(FakePorkbun.key, "another", timing, runtime, url=url)

    def test_a_domain_without_api_access_says_what_to_switch_on(self, api: FakePorkbun, runtime: Runtime) -> None:
        said = {"status": "ERROR", "message": "Domain is not opted in to API access."}
        api.fail(json_response(said, 400), match=lambda request: request.path.startswith("/dns/"))
        with pytest.raises(CredentialsRejected, match="switched on for the domain"):
            self.build(api.url, TIMING, runtime).present(ONE)
