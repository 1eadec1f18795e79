"""Namecheap keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import CredentialsRejected, KnitError, RateLimited, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import namecheap
from knit.providers.base import Runtime, Values
from rig.dns_api.namecheap import FakeNamecheap, error
from rig.dns_api.server import Response
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract

_TRICKY = [
    {"Name": "@", "Type": "MX", "Address": "mx1.example.net.", "MXPref": "20", "TTL": "1799"},
    {"Name": "@", "Type": "TXT", "Address": "v=spf1 include:\"x\" & <y> 'z' -all", "MXPref": "10", "TTL": "60"},
    {"Name": "@", "Type": "URL301", "Address": "https://www.example.org/?a=1&b=2", "MXPref": "10", "TTL": "1800"},
    {"Name": "@", "Type": "CAA", "Address": '0 issue "letsencrypt.org"', "MXPref": "10", "TTL": "1800"},
]


class TestNamecheap(SolverContract):
    case = Case(
        provider=namecheap.PROVIDER,
        fake=FakeNamecheap,
        credentials={"NAMECHEAP_API_USER": FakeNamecheap.user, "NAMECHEAP_API_KEY": FakeNamecheap.key},
        secrets=(FakeNamecheap.key,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> namecheap.Namecheap:
        return self._built(FakeNamecheap.key, url, timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> namecheap.Namecheap:
        return self._built("another", url, timing, runtime)

    @staticmethod
    def _built(key: str, url: str, timing: Timing, runtime: Runtime) -> namecheap.Namecheap:
        api, mirror = f"{url}/xml.response", f"{url}/getip"
        return namecheap.Namecheap(FakeNamecheap.user, key, timing, runtime, url=api, address_url=mirror)

    def test_all_other_records_go_back_as_they_came(self, api: FakeNamecheap, runtime: Runtime) -> None:
        domain = api.domains["example.org"]
        domain.email, domain.hosts = "MX", list(_TRICKY)
        solver = self.build(api.url, TIMING, runtime)
        solver.present(ONE)
        assert (domain.email, domain.hosts[:-1]) == ("MX", _TRICKY)
        solver.cleanup(ONE, None)
        assert (domain.email, domain.hosts) == ("MX", _TRICKY)

    def test_the_provider_s_own_proxy_is_used(
        self, api: FakeNamecheap, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = {**(namecheap.Namecheap.__init__.__kwdefaults__ or {}), "address_url": "http://127.0.0.9:1/getip"}
        monkeypatch.setattr(namecheap.Namecheap.__init__, "__kwdefaults__", kept)
        given = {**self.case.credentials, "NAMECHEAP_HTTP_PROXY": api.url}
        api.fail(Response(body=b"no address"))
        # The list of domains is asked for first, and that call has to name our address.
        with pytest.raises(Unreachable, match="public address"):
            namecheap.PROVIDER.solver(Values(given), runtime).present(ONE)
        assert api.requests[-1].headers["host"] == "127.0.0.9:1"

    def test_a_domain_with_other_name_servers_is_refused(self, api: FakeNamecheap, runtime: Runtime) -> None:
        api.domains["example.org"].ours = False
        with pytest.raises(Refused, match="name servers of somebody else"):
            self.build(api.url, TIMING, runtime).present(ONE)

    @pytest.mark.parametrize(
        ("number", "kind"),
        [("1011150", CredentialsRejected), ("500000", RateLimited), ("3031510", Unreachable), ("2030280", Refused)],
    )
    def test_an_error_in_the_answer_keeps_its_words(
        self, api: FakeNamecheap, runtime: Runtime, number: str, kind: type[KnitError]
    ) -> None:
        api.fail(error(number, "as they put it"), match=lambda request: request.method == "POST")
        with pytest.raises(kind, match="as they put it"):
            self.build(api.url, TIMING, runtime).present(ONE)
