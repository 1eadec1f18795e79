"""Amazon Route 53 keeps the solver contract."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import route53
from knit.providers.base import Runtime, Values
from knit.providers.cloud import aws
from rig.dns_api.route53 import FakeRoute53, throttled
from rig.dns_api.server import Request, Response
from tests.contract.providers.suite import FOREIGN, ONE, TIMING, TWO, Case, SolverContract, record

_GIVEN = {"AWS_ACCESS_KEY_ID": FakeRoute53.key, "AWS_SECRET_ACCESS_KEY": FakeRoute53.secret}


_ROLE = {"AWS_ASSUME_ROLE_ARN": FakeRoute53.role, "AWS_EXTERNAL_ID": FakeRoute53.external}


def _built(
    url: str, runtime: Runtime, given: dict[str, str] = _GIVEN, *, timing: Timing = TIMING, **options: object
) -> route53.Route53:
    login = aws.login(Values(given), timing, runtime, rights=route53.PROVIDER.rights, sts=url)
    access = route53.access(login, aws.Server(url=url, region="us-east-1"), timing, runtime)
    return route53.Route53(access, timing, runtime, route53.Options(**options))  # type: ignore[arg-type] # test data


class TestRoute53(SolverContract):
    case = Case(
        provider=route53.PROVIDER,
        fake=FakeRoute53,
        credentials=_GIVEN,
        secrets=(FakeRoute53.secret,),
        foreign=FOREIGN,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> route53.Route53:
        return _built(url, runtime, timing=timing)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> route53.Route53:
        return _built(url, runtime, _GIVEN | {"AWS_SECRET_ACCESS_KEY": "another"}, timing=timing)

    def test_values_beside_ours_keep_their_ttl(self, api: FakeRoute53, solver: route53.Route53) -> None:
        api.seed("example.org", ONE.fqdn, "foreign")
        solver.present(ONE)
        assert [ttl for sets in api.zones.values() for ttl, _ in sets.values()] == [300]

    def test_a_value_that_came_in_between_is_kept(self, api: FakeRoute53, solver: route53.Route53) -> None:
        seen: list[Request] = []

        def race(request: Request) -> bool:
            if request.method == "POST" and not seen:
                seen.append(request)
                api.seed("example.org", ONE.fqdn, "in between")
            return False

        api.fail(throttled(), match=race)
        solver.present(ONE)
        assert sorted(api.values(ONE.fqdn)) == sorted(["in between", ONE.value])

    @pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete"])
    def test_being_too_fast_is_waited_out(
        self, api: FakeRoute53, solver: route53.Route53, slept: list[float], code: str
    ) -> None:
        api.fail(throttled(code), times=2)
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]
        assert slept == [0.8, 1.6]

    def test_being_too_fast_for_long_is_a_rate_limit(self, api: FakeRoute53, runtime: Runtime) -> None:
        api.fail(throttled(), times=100)
        with pytest.raises(RateLimited, match="Rate exceeded"):
            _built(api.url, runtime, tries=2).present(ONE)
        assert len(api.requests) == 2

    def test_a_public_zone_of_the_same_name_is_told_from_the_private_one(
        self, api: FakeRoute53, runtime: Runtime
    ) -> None:
        hidden = api.add("example.org", private=True)
        _built(api.url, runtime).present(ONE)
        assert api.zones[hidden] == {}
        _built(api.url, runtime, private=True).present(TWO)
        assert list(api.zones[hidden]) == [f"{TWO.fqdn}."]

    def test_a_zone_behind_many_of_the_same_name_is_found(self, api: FakeRoute53, runtime: Runtime) -> None:
        for _ in range(4):
            api.add("twins.example", private=True)
        twin = record("value", "_acme-challenge.twins.example", zone="twins.example")
        with pytest.raises(Refused, match="only public zones count"):
            _built(api.url, runtime).present(twin)
        api.add("twins.example", private=False)
        _built(api.url, runtime).present(twin)
        assert api.values(twin.fqdn) == ["value"]

    def test_a_hosted_zone_that_is_named_is_not_looked_for(self, api: FakeRoute53, runtime: Runtime) -> None:
        found = next(found for found, (name, _) in api.ids.items() if name == "example.org")
        solver = _built(api.url, runtime, zone_id=found)
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert not any(request.path.endswith("hostedzonesbyname") for request in api.requests)

    def test_a_hosted_zone_is_named_as_the_console_shows_it(self, api: FakeRoute53, runtime: Runtime) -> None:
        found = next(found for found, (name, _) in api.ids.items() if name == "example.org")
        _built(api.url, runtime, zone_id=f"/hostedzone/{found}").present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_multivalue_answers_of_other_software_stay_and_ours_stand_beside_them(
        self, api: FakeRoute53, solver: route53.Route53
    ) -> None:
        """As cert-manager writes them, and leaves them: beside them no set can have the name to itself."""
        left = {'"theirs"': (10, ['"theirs"']), '"others"': (60, ['"others"'])}
        api.several[f"{ONE.fqdn}."] = dict(left)
        assert [solver.present(one) is None for one in (ONE, TWO, ONE)] == [False, False, True]
        assert sorted(api.values(ONE.fqdn)) == sorted(["theirs", "others", ONE.value, TWO.value])
        solver.cleanup(ONE, None)
        assert sorted(api.values(ONE.fqdn)) == sorted(["theirs", "others", TWO.value])
        for one in (TWO, TWO):
            solver.cleanup(one, None)
        assert api.several == {f"{ONE.fqdn}.": left}

    def test_what_we_wrote_beside_others_is_removed_when_they_have_gone(
        self, api: FakeRoute53, runtime: Runtime
    ) -> None:
        api.several[f"{ONE.fqdn}."] = {"theirs": (10, ['"theirs"'])}
        assert _built(api.url, runtime).present(ONE) is not None
        del api.several[f"{ONE.fqdn}."]["theirs"]
        again = _built(api.url, runtime, timing=replace(TIMING, ttl=77))
        again.present(TWO)
        for one in (ONE, TWO):
            again.cleanup(one, None)
        assert api.values(ONE.fqdn) == []
        assert again.present(ONE) is not None
        assert api.several == {}

    def test_a_policy_without_create_is_enough(self, api: FakeRoute53, solver: route53.Route53) -> None:
        api.allowed = {"UPSERT", "DELETE"}
        api.seed("example.org", ONE.fqdn, "foreign")
        for one in (ONE, TWO):
            assert solver.present(one) is not None
        assert sorted(api.values(ONE.fqdn)) == sorted(["foreign", ONE.value, TWO.value])
        for one in (ONE, TWO):
            solver.cleanup(one, None)
        assert api.values(ONE.fqdn) == ["foreign"]

    def test_a_policy_that_allows_neither_says_which_right_is_missing(
        self, api: FakeRoute53, solver: route53.Route53
    ) -> None:
        api.allowed = {"DELETE"}
        with pytest.raises(CredentialsRejected, match="route53:ChangeResourceRecordSets"):
            solver.present(ONE)

    def test_a_change_is_waited_for_until_all_servers_have_it(
        self, api: FakeRoute53, solver: route53.Route53, slept: list[float]
    ) -> None:
        api.pending = 3
        state = solver.present(ONE)
        assert state is not None
        solver.settle([state])
        assert slept == [TIMING.interval] * 2

    def test_a_change_that_never_settles_is_left_to_the_look_at_the_dns(
        self, api: FakeRoute53, solver: route53.Route53, slept: list[float]
    ) -> None:
        api.pending = 10**6
        solver.settle([{"change": "C1"}, {"change": "C2"}])
        assert sum(slept) == TIMING.timeout

    def test_a_change_is_not_asked_after_when_the_user_says_so(self, api: FakeRoute53, runtime: Runtime) -> None:
        _built(api.url, runtime, waits=False).settle([{"change": "C1"}])
        assert api.requests == []

    def test_a_role_is_taken_on_once(self, api: FakeRoute53, runtime: Runtime) -> None:
        solver = _built(api.url, runtime, _GIVEN | _ROLE)
        solver.cleanup(ONE, solver.present(ONE))
        assert sum(request.path == "/" for request in api.requests) == 1

    def test_a_role_that_refuses_us_says_so(self, api: FakeRoute53, runtime: Runtime) -> None:
        with pytest.raises(CredentialsRejected, match=r"not authorized to perform: sts:AssumeRole.*trust"):
            _built(api.url, runtime, _GIVEN | _ROLE | {"AWS_EXTERNAL_ID": "another"}).present(ONE)

    def test_an_error_500_of_sts_that_passes_is_not_noticed(
        self, api: FakeRoute53, runtime: Runtime, slept: list[float]
    ) -> None:
        api.fail(Response(status=503), times=2)
        _built(api.url, runtime, _GIVEN | _ROLE).present(ONE)
        assert (api.values(ONE.fqdn), slept) == ([ONE.value], [0.5, 2.0])

    @pytest.mark.parametrize(
        ("answer", "error", "tries"),
        [
            (Response(status=500), Unreachable, 3),
            (throttled(), RateLimited, 1),
            (Response(status=429, body=throttled().body), RateLimited, 1),
            (Response(delay=2.0), Unreachable, 1),
            (Response(body=b"<html>"), Unreachable, 1),
            (Response(body=b"<AssumeRoleResponse/>"), Unreachable, 1),
        ],
    )
    def test_what_is_wrong_with_sts_is_one_of_our_errors(
        self, api: FakeRoute53, runtime: Runtime, answer: Response, error: type[KnitError], tries: int
    ) -> None:
        api.fail(answer, times=100)
        with pytest.raises(error, match="route53: "):
            _built(api.url, runtime, _GIVEN | _ROLE).present(ONE)
        assert len(api.requests) == tries

    def test_what_sts_repeats_of_the_request_holds_no_secret(self, api: FakeRoute53, runtime: Runtime) -> None:
        given = {
            "AWS_ACCESS_KEY_ID": FakeRoute53.role_key,
            "AWS_SECRET_ACCESS_KEY": FakeRoute53.role_secret,
            "AWS_SESSION_TOKEN": FakeRoute53.role_token,
        }
        said = f"x-amz-security-token:{FakeRoute53.role_token} {FakeRoute53.role_secret} canonical".encode()
        told = b"<Code>SignatureDoesNotMatch</Code><Message>%s</Message>" % said
        api.fail(Response(status=403, body=b"<ErrorResponse><Error>%s</Error></ErrorResponse>" % told))
        with pytest.raises(CredentialsRejected, match=r"security-token:\*\*\* \*\*\* canonical"):
            _built(api.url, runtime, given | _ROLE).present(ONE)

    def test_keys_that_last_for_a_while_bring_their_token(self, api: FakeRoute53, runtime: Runtime) -> None:
        given = {"AWS_ACCESS_KEY_ID": FakeRoute53.role_key, "AWS_SECRET_ACCESS_KEY": FakeRoute53.role_secret}
        _built(api.url, runtime, given | {"AWS_SESSION_TOKEN": FakeRoute53.role_token}).present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_two_accounts_are_used_side_by_side(
        self, api: FakeRoute53, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-process")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-process")
        one = _built(api.url, runtime)
        two = _built(api.url, runtime, _GIVEN | _ROLE)
        one.present(ONE)
        two.present(TWO)
        one.cleanup(ONE, None)
        used = [request.headers["authorization"].split("=")[1].split("/")[0] for request in api.requests]
        assert list(dict.fromkeys(used)) == [FakeRoute53.key, FakeRoute53.role_key]
        assert used[-1] == FakeRoute53.key
        assert api.values(ONE.fqdn) == [TWO.value]

    def test_half_a_key_is_named(self, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match="AWS_SECRET_ACCESS_KEY"):
            route53.PROVIDER.solver(Values({"AWS_ACCESS_KEY_ID": "set"}), runtime)


def _keys(given: dict[str, str]) -> tuple[str, str]:
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=lambda _: None)
    keys, _ = aws.login(Values(given), TIMING, runtime, rights="-").keys()
    return keys.access_key, keys.secret_key


def test_keys_of_a_profile_are_found_as_the_sdk_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    shared = tmp_path / "credentials"
    shared.write_text("[dns]\naws_access_key_id = from-file\naws_secret_access_key = secret\n")
    assert _keys({"AWS_PROFILE": "dns", "AWS_SHARED_CREDENTIALS_FILE": str(shared)}) == ("from-file", "secret")


def test_a_profile_that_is_missing_is_no_credential() -> None:
    with pytest.raises(CredentialsRejected, match="ProfileNotFound"):
        _keys({"AWS_PROFILE": "no-such-profile"})


@pytest.mark.parametrize(
    ("region", "host", "signed"),
    [
        ("eu-central-1", "https://route53.amazonaws.com", "us-east-1"),
        ("cn-north-1", "https://route53.amazonaws.com.cn", "cn-northwest-1"),
        ("us-gov-east-1", "https://route53.us-gov.amazonaws.com", "us-gov-west-1"),
    ],
)
def test_the_region_tells_which_route_53(region: str, host: str, signed: str) -> None:
    assert aws.server(Values({"AWS_REGION": region})) == aws.Server(url=host, region=signed)
