"""The contract every solver with an HTTP API passes. How to add a provider, `acme` as the example:

1. `knit/providers/acme.py` exposes `PROVIDER` and one solver class (model: `knit/providers/desec.py`).
   - Variables by lego's names and defaults (docs/howto/add-a-provider.md); `knobs(...)` makes the usual four.
   - The class derives from `Paced`, takes credentials, `timing`, `runtime` and `url=` (the API's base URL, so that
     tests can point it at a fake), builds one `Api(url, Account(...), runtime, timeout=timing.http)`.
     Put every secret into `Account.secrets`; say in `rights` what the credential must be allowed to do.
   - Zones: `Zones("acme", lookup, runtime.clock)`, where `lookup(name)` asks the API for exactly that zone and gives
     None when the account has none; for APIs that can only list, `listed(fetch_all, runtime.clock)` makes the lookup
     and `paged(...)` reads all pages. `relative(fqdn, zone)` is the name inside the zone ("" at the apex).
   - Replies only through `reply.parse(Model)`; answers that report errors with status 200 raise `api.rejected(...)`,
     `api.refused(...)` or `api.limited(...)`.
   - `present` of a value that is there and `cleanup` of one that is not are done, not errors. Delete by exact value.
     Return the record's id as state only if it saves a lookup; `cleanup(record, None)` must work all the same
     (a crash may come between the write and the journal).
   - One API write that replaces several values (a record set, a whole zone): inherit `ReplacesWhole`, whose
     `replaces` names what is replaced; callers then hold a lock over present and cleanup. If the provider can keep
     only one value at a name: `HoldsOneValue`.
2. `rig/dns_api/acme.py`: `class FakeAcme(FakeApi)` (model: `desec.py` there), from the API's documentation, whose
   URL stands on top. Check method, path, authentication and body strictly; answer in the documented shapes; cut
   lists into pages of `page_size`. Wrong credentials get the documented status.
3. `tests/contract/providers/test_acme.py`, ten lines (model: `test_desec.py`).
4. One line in `knit/providers/registry.py: MODULES`; `python -m knit.providers.docs` writes the row of
   docs/providers.md.

Run: `.venv/bin/python -m pytest -q tests/contract/providers/test_acme.py`
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from knit.core.model.challenge import Challenge, Record
from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Refused, Unreachable
from knit.ports.solving import Solver, Timing
from knit.providers.base import Provider, Runtime, Values
from rig.dns_api.server import FakeApi, Request, Response

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMING = Timing(timeout=120, interval=4, ttl=3600, http=0.5)


def record(value: str, fqdn: str = "_acme-challenge.www.example.org", zone: str = "example.org") -> Record:
    """A TXT value to set, as the delegation finder hands it to a solver."""
    identifier = fqdn.removeprefix("_acme-challenge.")
    challenge = Challenge(identifier=identifier, value=value, token="token", key_authorization="token.thumb")
    return Record(challenge=challenge, fqdn=fqdn, zone=zone)


ONE = record("q_G2lZn2yCPhm-0jvSbhTOjpQ7yYyUGxZzNmYwKXp8g")
DEEP = "Bq1x0TzVnYl7hJ5cW2sRd9uKe4mPo6gFa8iLb3vNyXw"
ESCAPED = r'"caf\195\169"'
LONG = f'"{"a" * 255}" "{"b" * 40}"'
FOREIGN = (ESCAPED, LONG, r'"say \"hi\" and \\"', '"two " " strings"', '""')
"""TXT values of other software, as APIs in the style of zone files write them."""
APEX = "9tHc2LkEw5zQ8rYpBn1sVf7uMx4jGd6oAa3iCb0vRyU"
TWO = record("-Kz3JXnQbV1r6tWqDk4hN0sLgMf9yYcPzAeTuIoWx5E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the suite must know of one provider.

    `credentials` is the environment a user would set, with values the fake accepts; `secrets` is what must never
    show in an error, a repr or the remembered state. `single_value`: the provider keeps one value per name (the
    solver has `slot`), so the tests with two values do not apply. `foreign`: values of other software as the API
    writes them, where a write replaces a whole set. `finds_zones` is False where the solver takes the
    zone as told by the DNS. `removes` is False where the provider's API cannot remove a value.
    """

    provider: Provider
    fake: type[FakeApi]
    credentials: dict[str, str]
    secrets: tuple[str, ...]
    foreign: tuple[object, ...] = ()
    single_value: bool = False
    finds_zones: bool = True
    removes: bool = True


class SolverContract(ABC):
    """Inherit as `Test<Provider>`, set `case`, and build the solver at the fake's URL."""

    case: ClassVar[Case]

    @abstractmethod
    def build(self, url: str, timing: Timing, runtime: Runtime) -> Solver:
        """The solver with the fake's credentials, talking to `url`."""

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> Solver | None:
        """The same with a credential the fake does not know, or None when the fault below must do."""
        return None

    @pytest.fixture
    def slept(self) -> list[float]:
        return []

    @pytest.fixture
    def runtime(self, slept: list[float]) -> Runtime:
        return Runtime(clock=lambda: NOW, sleep=slept.append)

    @pytest.fixture
    def api(self) -> Iterator[FakeApi]:
        api = self.case.fake()
        with api.serving():
            for zone in ("aaa.example", "bbb.example", "ccc.example", "example.org"):
                api.add_zone(zone)
            yield api
        assert api.complaints == [], "the solver sent what the documentation does not allow"

    @pytest.fixture
    def solver(self, api: FakeApi, runtime: Runtime) -> Solver:
        return self.build(api.url, TIMING, runtime)

    def assert_gone(self, api: FakeApi, fqdn: str) -> None:
        """No value is left at the name, where the provider can remove any."""
        if self.case.removes:
            assert api.values(fqdn) == []

    def test_sets_and_removes_a_value(self, api: FakeApi, solver: Solver) -> None:
        state = solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        solver.cleanup(ONE, state)
        self.assert_gone(api, ONE.fqdn)

    def test_removes_a_value_whose_state_was_lost(self, api: FakeApi, solver: Solver) -> None:
        solver.present(ONE)
        solver.cleanup(ONE, None)
        self.assert_gone(api, ONE.fqdn)

    def test_a_second_solver_removes_what_the_first_has_set(
        self, api: FakeApi, solver: Solver, runtime: Runtime
    ) -> None:
        state = solver.present(ONE)
        self.build(api.url, TIMING, runtime).cleanup(ONE, state)
        self.assert_gone(api, ONE.fqdn)

    def test_keeps_two_values_at_one_name_and_removing_one_keeps_the_other(self, api: FakeApi, solver: Solver) -> None:
        if self.case.single_value:
            pytest.skip("this provider keeps one value per name")
        first, second = solver.present(ONE), solver.present(TWO)
        assert sorted(api.values(ONE.fqdn)) == sorted([ONE.value, TWO.value])
        solver.cleanup(ONE, first)
        assert api.values(ONE.fqdn) == [TWO.value]
        solver.cleanup(TWO, second)
        self.assert_gone(api, ONE.fqdn)

    def test_removing_a_missing_value_is_done(self, api: FakeApi, solver: Solver) -> None:
        state = solver.present(ONE)
        solver.cleanup(ONE, state)
        solver.cleanup(ONE, state)
        solver.cleanup(ONE, None)
        self.assert_gone(api, ONE.fqdn)

    def test_setting_a_value_twice_leaves_it_once(self, api: FakeApi, solver: Solver) -> None:
        solver.present(ONE)
        state = solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        solver.cleanup(ONE, state)
        self.assert_gone(api, ONE.fqdn)

    def test_never_touches_a_foreign_value(self, api: FakeApi, solver: Solver) -> None:
        if self.case.single_value:
            pytest.skip("this provider keeps one value per name")
        api.seed("example.org", ONE.fqdn, "foreign")
        api.seed("example.org", "other.example.org", "v=spf1 -all")
        state = solver.present(ONE)
        solver.cleanup(ONE, state)
        assert api.values(ONE.fqdn) == ["foreign"]
        assert api.values("other.example.org") == ["v=spf1 -all"]

    def test_foreign_values_of_a_set_go_back_byte_for_byte(self, api: FakeApi, solver: Solver) -> None:
        if not self.case.foreign:
            pytest.skip("a write touches one value only")
        for written in self.case.foreign:
            api.seed_written("example.org", ONE.fqdn, written)
        before = deepcopy(api.written(ONE.fqdn))
        state = solver.present(ONE)
        assert [written for written in api.written(ONE.fqdn) if written in before] == before
        assert len(api.written(ONE.fqdn)) == len(before) + 1
        solver.cleanup(ONE, state)
        assert api.written(ONE.fqdn) == before

    def test_sets_a_value_two_labels_below_its_zone(self, api: FakeApi, solver: Solver) -> None:
        deep = record(DEEP, "_acme-challenge.a.b.example.org")
        state = solver.present(deep)
        assert api.values(deep.fqdn) == [DEEP]
        solver.cleanup(deep, state)
        self.assert_gone(api, deep.fqdn)

    def test_finds_the_longest_zone_when_the_dns_shows_another_cut(self, api: FakeApi, solver: Solver) -> None:
        if not self.case.finds_zones:
            pytest.skip("the zone is taken as told")
        api.add_zone("b.example.org")
        deep = record(DEEP, "_acme-challenge.a.b.example.org", zone="a.b.example.org")
        state = solver.present(deep)
        assert api.values(deep.fqdn) == [DEEP]
        solver.cleanup(deep, state)
        self.assert_gone(api, deep.fqdn)

    def test_a_name_in_no_zone_of_the_account_is_refused_and_named(self, solver: Solver) -> None:
        if not self.case.finds_zones:
            pytest.skip("the zone is taken as told")
        with pytest.raises(Refused, match=r"_acme-challenge\.elsewhere\.test"):
            solver.present(record("value", "_acme-challenge.elsewhere.test", zone="elsewhere.test"))

    def test_sets_a_value_at_the_name_of_the_zone_itself(self, api: FakeApi, solver: Solver) -> None:
        api.add_zone("_acme-challenge.example.net")
        apex = record(APEX, "_acme-challenge.example.net", zone="_acme-challenge.example.net")
        state = solver.present(apex)
        assert api.values(apex.fqdn) == [APEX]
        solver.cleanup(apex, state)
        self.assert_gone(api, apex.fqdn)

    def test_waits_out_a_short_retry_after(self, api: FakeApi, solver: Solver, slept: list[float]) -> None:
        api.fail(Response(status=429, headers={"Retry-After": "3"}))
        solver.present(ONE)
        assert slept == [3.0]
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_a_long_retry_after_is_reported_with_its_instant(self, api: FakeApi, solver: Solver) -> None:
        api.fail(Response(status=429, headers={"Retry-After": "600"}))
        with pytest.raises(RateLimited) as caught:
            solver.present(ONE)
        assert caught.value.retry_at == NOW + timedelta(seconds=600)

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_rejected_credential_says_which_right_it_needs(self, api: FakeApi, solver: Solver, status: int) -> None:
        api.fail(Response(status=status, body=b"no entry"))
        with pytest.raises(CredentialsRejected) as caught:
            solver.present(ONE)
        assert "no entry" in str(caught.value)
        assert self.case.provider.rights in str(caught.value)

    def test_a_write_that_is_forbidden_says_which_right_it_needs(self, api: FakeApi, solver: Solver) -> None:
        api.fail(Response(status=403, body=b"read only"), match=api.is_write)
        with pytest.raises(CredentialsRejected, match="read only"):
            solver.present(ONE)

    def test_an_unknown_credential_is_rejected(self, api: FakeApi, runtime: Runtime) -> None:
        solver = self.build_rejected(api.url, TIMING, runtime)
        if solver is None:
            pytest.skip("nothing to get wrong")
        with pytest.raises(CredentialsRejected):
            solver.present(ONE)

    def test_an_error_500_that_passes_is_not_noticed(self, api: FakeApi, solver: Solver, slept: list[float]) -> None:
        api.fail(Response(status=500))
        api.fail(Response(status=503), match=api.is_write)
        state = solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        api.fail(Response(status=502))
        solver.cleanup(ONE, state)
        self.assert_gone(api, ONE.fqdn)
        assert slept, "a retry without a pause hammers a server in trouble"

    def test_a_lasting_error_500_is_unreachable(self, api: FakeApi, solver: Solver) -> None:
        api.fail(Response(status=500, body=b"out of order"), times=100)
        with pytest.raises(Unreachable, match="out of order"):
            solver.present(ONE)
        assert len(api.requests) <= 6

    def test_no_answer_in_time_is_unreachable(self, api: FakeApi, solver: Solver) -> None:
        api.fail(Response(delay=2.0), times=100)
        started = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            solver.present(ONE)
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize(
        "garbage",
        [b"<html>maintenance</html>", b"", b"\xff\xfe\x00", b"[[[[[[", b'"text"', b"null", b"0", b'{"unexpected": []}'],
    )
    def test_garbage_is_one_of_our_errors(self, api: FakeApi, solver: Solver, garbage: bytes) -> None:
        """The write may also have worked: an API whose writes answer nothing of worth is not asked to look."""
        api.fail(Response(body=garbage, headers={"Content-Type": "application/json"}), times=100)
        with suppress(Unreachable, Refused):
            solver.present(ONE)

    def test_no_secret_shows_in_errors_or_state(self, api: FakeApi, solver: Solver) -> None:
        def echo(request: Request) -> bytes:
            return b" ".join([request.path.encode(), *(v.encode() for v in request.headers.values()), request.body])

        state = solver.present(ONE)
        shown = repr(state) + repr(solver)
        echoed = b" | ".join([echo(request) for request in api.requests] + [s.encode() for s in self.case.secrets])
        for status in (400, 401, 403, 409, 422, 500):
            api.fail(Response(status=status, body=echoed[-150:]), times=100 if status == 500 else 1)
            try:
                solver.cleanup(ONE, state)
            except KnitError as e:
                shown += f" {e!r} {e.__cause__!r} {e.__context__ if not e.__suppress_context__ else ''!r}"
        assert [secret for secret in self.case.secrets if secret in shown] == []

    def test_the_user_s_variables_are_enough_to_build_it(self, runtime: Runtime) -> None:
        assert self.case.provider.solver(Values(self.case.credentials), runtime).timeout > 0

    def test_a_missing_credential_is_named(self, runtime: Runtime) -> None:
        needed = {variable.name for wanted in self.case.provider.required for variable in wanted}
        if not needed:
            pytest.skip("nothing is required")
        with pytest.raises(Misconfigured) as caught:
            self.case.provider.solver(Values({}), runtime)
        assert any(name in str(caught.value) for name in needed)
