"""INWX keeps the solver contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Unreachable
from knit.ports.solving import Timing
from knit.providers import inwx
from knit.providers.base import Runtime, Values
from rig.dns_api.inwx import FakeInwx
from rig.dns_api.server import json_response
from tests.contract.providers.suite import NOW, ONE, TIMING, Case, SolverContract

_SHARED = b"12345678901234567890"
_STEP = int(NOW.timestamp()) // 30


class TestInwx(SolverContract):
    case = Case(
        provider=inwx.PROVIDER,
        fake=FakeInwx,
        credentials={"INWX_USERNAME": FakeInwx.user, "INWX_PASSWORD": FakeInwx.password},
        secrets=(FakeInwx.password,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> inwx.Inwx:
        return inwx.Inwx(inwx.Login(user=FakeInwx.user, password=FakeInwx.password), timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> inwx.Inwx:
        return inwx.Inwx(inwx.Login(user=FakeInwx.user, password="another"), timing, runtime, url=url)

    def test_a_session_that_inwx_has_forgotten_is_replaced(self, api: FakeInwx, solver: inwx.Inwx) -> None:
        solver.present(ONE)
        api.sessions.clear()
        solver.cleanup(ONE, None)
        assert (api.values(ONE.fqdn), api.logins) == ([], 2)

    def test_a_session_serves_many_calls_until_it_is_old(self, api: FakeInwx) -> None:
        now = [NOW]
        solver = self.build(api.url, TIMING, Runtime(clock=lambda: now[0], sleep=lambda _: None))
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert api.logins == 1
        now[0] += timedelta(hours=1)
        solver.cleanup(ONE, None)
        assert api.logins == 2

    def test_a_login_with_two_factors_gives_the_code_of_the_moment(self, api: FakeInwx, runtime: Runtime) -> None:
        api.codes = [inwx.totp(_SHARED, _STEP)]
        _two_factors(api, runtime).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_a_code_that_another_process_has_spent_is_followed_by_the_next(
        self, api: FakeInwx, runtime: Runtime, slept: list[float]
    ) -> None:
        api.codes = [inwx.totp(_SHARED, _STEP + 1)]
        _two_factors(api, runtime).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        assert slept == [30.0]

    def test_no_code_is_given_twice(self, api: FakeInwx, runtime: Runtime) -> None:
        api.codes = [inwx.totp(_SHARED, _STEP), inwx.totp(_SHARED, _STEP + 1)]
        solver = _two_factors(api, runtime)
        solver.present(ONE)
        api.sessions.clear()
        solver.cleanup(ONE, None)
        assert (api.values(ONE.fqdn), api.codes) == ([], [])

    def test_two_factors_without_a_shared_secret_name_the_variable(self, api: FakeInwx, solver: inwx.Inwx) -> None:
        api.codes = []
        with pytest.raises(CredentialsRejected, match="INWX_SHARED_SECRET"):
            solver.present(ONE)

    @pytest.mark.parametrize(
        ("code", "kind"), [(2201, CredentialsRejected), (2400, Unreachable), (2502, RateLimited), (2500, Unreachable)]
    )
    def test_an_error_in_the_answer_keeps_its_words(
        self, api: FakeInwx, solver: inwx.Inwx, code: int, kind: type[KnitError]
    ) -> None:
        api.fail(json_response({"code": code, "msg": "as they put it", "reason": "because"}), match=api.is_write)
        with pytest.raises(kind, match=rf"as they put it because \(code {code}\)"):
            solver.present(ONE)

    @pytest.mark.parametrize("spelled", ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq"])
    def test_the_shared_secret_is_read_as_inwx_shows_it(self, runtime: Runtime, spelled: str) -> None:
        inwx.PROVIDER.solver(Values({**self.case.credentials, "INWX_SHARED_SECRET": spelled}), runtime)

    def test_a_shared_secret_that_is_none_is_named_but_not_shown(self, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match="INWX_SHARED_SECRET") as caught:
            inwx.PROVIDER.solver(Values({**self.case.credentials, "INWX_SHARED_SECRET": "no-base32!"}), runtime)
        assert "no-base32" not in str(caught.value)

    @pytest.mark.parametrize(("seconds", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
    def test_codes_are_those_of_rfc_6238(self, seconds: int, code: str) -> None:
        assert inwx.totp(_SHARED, seconds // 30) == code


def _two_factors(api: FakeInwx, runtime: Runtime) -> inwx.Inwx:
    login = inwx.Login(user=FakeInwx.user, password=FakeInwx.password, shared=_SHARED)
    return inwx.Inwx(login, TIMING, runtime, url=api.url)
