"""Hurricane Electric keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Refused, Unreachable
from knit.ports.solving import HoldsOneValue, Timing
from knit.providers import hurricane
from knit.providers.base import Runtime, Values
from rig.dns_api.hurricane import FakeHurricane
from rig.dns_api.server import Response
from tests.contract.providers.suite import ONE, TIMING, Case, SolverContract, record


class TestHurricane(SolverContract):
    case = Case(
        provider=hurricane.PROVIDER,
        fake=FakeHurricane,
        credentials={"HURRICANE_TOKENS": "www.example.org:one, example.net:two"},
        secrets=tuple(FakeHurricane.tokens().values()),
        single_value=True,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> hurricane.Hurricane:
        return hurricane.Hurricane(FakeHurricane.tokens(), timing, runtime, url=f"{url}/nic/update")

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> hurricane.Hurricane:
        return hurricane.Hurricane({ONE.fqdn: "another"}, timing, runtime, url=f"{url}/nic/update")

    def test_each_name_has_its_own_slot(self, solver: hurricane.Hurricane) -> None:
        assert isinstance(solver, HoldsOneValue)
        assert solver.slot(ONE) != solver.slot(record("value", "_acme-challenge.b.example.org"))

    def test_names_are_read_with_and_without_what_acme_puts_before_them(
        self, api: FakeHurricane, runtime: Runtime
    ) -> None:
        for name in ("www.example.org", "*.www.example.org", "_acme-challenge.www.example.org", "WWW.example.org."):
            built = hurricane.PROVIDER.solver(Values({"HURRICANE_TOKENS": f"x.example:y,{name}:z"}), runtime)
            assert isinstance(built, hurricane.Hurricane)
            assert built._tokens[ONE.fqdn] == "z"
        assert api.requests == []

    def test_a_delegated_challenge_s_key_is_that_of_the_target(self, api: FakeHurricane, runtime: Runtime) -> None:
        target = record("value", "www.example.org")
        built = hurricane.PROVIDER.solver(Values({"HURRICANE_TOKENS": "www.example.org:key"}), runtime)
        assert isinstance(built, hurricane.Hurricane)
        solver = hurricane.Hurricane(built._tokens, TIMING, runtime, url=f"{api.url}/nic/update")
        api.fail(Response(body=b"good"), match=lambda request: request.form["hostname"] == "www.example.org")
        solver.present(target)
        assert api.requests[-1].form["password"] == "key"

    @pytest.mark.parametrize("text", ["no-colon", "example.org:", ":key", "example.org:key,broken-canary"])
    def test_pairs_that_are_none_are_refused_without_being_shown(self, text: str, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match="HURRICANE_TOKENS") as caught:
            hurricane.PROVIDER.solver(Values({"HURRICANE_TOKENS": text}), runtime)
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ("badauth", CredentialsRejected),
            ("nohost", Refused),
            ("interval", RateLimited),
            ("abuse", RateLimited),
            ("911", Unreachable),
        ],
    )
    def test_each_word_of_refusal_has_its_error(
        self, api: FakeHurricane, solver: hurricane.Hurricane, said: str, kind: type[KnitError]
    ) -> None:
        api.fail(Response(body=said.encode()))
        with pytest.raises(kind, match=r"_acme-challenge\.www\.example\.org"):
            solver.present(ONE)
