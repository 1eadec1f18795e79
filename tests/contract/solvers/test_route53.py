"""Amazon Route 53 keeps the solver contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from knit.errors import CredentialsRejected, Misconfigured, RateLimited, Refused
from knit.solvers import aws, route53
from knit.solvers.base import Runtime, Timing, Values
from knit.solvers.sigv4 import Keys, signer
from tests.contract.solvers.suite import ONE, TIMING, TWO, Case, SolverContract, record
from tests.rig.dns_api.route53 import FakeRoute53, throttled
from tests.rig.dns_api.server import Request

_GIVEN = {"AWS_ACCESS_KEY_ID": FakeRoute53.key, "AWS_SECRET_ACCESS_KEY": FakeRoute53.secret}


def _keys(secret: str = FakeRoute53.secret) -> aws.Source:
    return lambda: (Keys(id=FakeRoute53.key, secret=secret), timedelta(days=1))


def _built(
    url: str, runtime: Runtime, source: aws.Source, *, timing: Timing = TIMING, **options: object
) -> route53.Route53:
    access = route53.access(source, aws.Server(url=url, region="us-east-1"), timing, runtime)
    return route53.Route53(access, timing, runtime, route53.Options(**options))  # type: ignore[arg-type] # test data


class TestRoute53(SolverContract):
    case = Case(
        provider=route53.PROVIDER,
        fake=FakeRoute53,
        credentials=_GIVEN,
        secrets=(FakeRoute53.secret,),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> route53.Route53:
        return _built(url, runtime, _keys(), timing=timing)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> route53.Route53:
        return _built(url, runtime, _keys("another"), timing=timing)

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
            _built(api.url, runtime, _keys(), tries=2).present(ONE)
        assert len(api.requests) == 2

    def test_a_public_zone_of_the_same_name_is_told_from_the_private_one(
        self, api: FakeRoute53, runtime: Runtime
    ) -> None:
        hidden = api.add("example.org", private=True)
        _built(api.url, runtime, _keys()).present(ONE)
        assert api.zones[hidden] == {}
        _built(api.url, runtime, _keys(), private=True).present(TWO)
        assert list(api.zones[hidden]) == [f"{TWO.fqdn}."]

    def test_a_zone_behind_many_of_the_same_name_is_found(self, api: FakeRoute53, runtime: Runtime) -> None:
        for _ in range(4):
            api.add("twins.example", private=True)
        twin = record("value", "_acme-challenge.twins.example", zone="twins.example")
        with pytest.raises(Refused, match="only public zones count"):
            _built(api.url, runtime, _keys()).present(twin)
        api.add("twins.example", private=False)
        _built(api.url, runtime, _keys()).present(twin)
        assert api.values(twin.fqdn) == ["value"]

    def test_a_hosted_zone_that_is_named_is_not_looked_for(self, api: FakeRoute53, runtime: Runtime) -> None:
        found = next(found for found, (name, _) in api.ids.items() if name == "example.org")
        solver = _built(api.url, runtime, _keys(), zone_id=found)
        solver.present(ONE)
        solver.cleanup(ONE, None)
        assert not any(request.path.endswith("hostedzonesbyname") for request in api.requests)

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
        _built(api.url, runtime, _keys(), waits=False).settle([{"change": "C1"}])
        assert api.requests == []

    def test_a_role_is_taken_on_once(self, api: FakeRoute53, runtime: Runtime) -> None:
        solver = _built(api.url, runtime, _assumed(api, runtime, FakeRoute53.external))
        solver.cleanup(ONE, solver.present(ONE))
        assert sum(request.path == "/" for request in api.requests) == 1

    def test_a_role_that_refuses_us_says_so(self, api: FakeRoute53, runtime: Runtime) -> None:
        with pytest.raises(CredentialsRejected, match=r"not authorized to perform: sts:AssumeRole.*trust"):
            _built(api.url, runtime, _assumed(api, runtime, "another")).present(ONE)

    def test_half_a_key_is_named(self, runtime: Runtime) -> None:
        with pytest.raises(Misconfigured, match="AWS_SECRET_ACCESS_KEY"):
            route53.PROVIDER.solver(Values({"AWS_ACCESS_KEY_ID": "set"}), runtime)


def _assumed(api: FakeRoute53, runtime: Runtime, external: str) -> aws.Source:
    role = {"RoleArn": FakeRoute53.role, "ExternalId": external}
    return aws.assumed(_keys(), role, aws.Server(url=api.url, region="us-east-1"), runtime, TIMING)


def test_signatures_are_those_of_aws_own_example() -> None:
    """`get-vanilla` of the test suite that AWS publishes for Signature Version 4."""
    keys = Keys(id="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    request = requests.Request("GET", "https://example.amazonaws.com/").prepare()
    signer(keys, "us-east-1", "service", lambda: datetime(2015, 8, 30, 12, 36, tzinfo=UTC))(request)
    assert request.headers["Authorization"].endswith(
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def test_keys_of_a_profile_are_found_as_the_sdk_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    shared = tmp_path / "credentials"
    shared.write_text("[dns]\naws_access_key_id = from-file\naws_secret_access_key = secret\n")
    given = {"AWS_PROFILE": "dns", "AWS_SHARED_CREDENTIALS_FILE": str(shared)}
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=lambda _: None)
    keys, _ = aws.source(Values(given), runtime, TIMING, rights="-")()
    assert (keys.id, keys.secret) == ("from-file", "secret")


@pytest.mark.parametrize(
    ("region", "host", "signed"),
    [
        ("eu-central-1", "https://route53.amazonaws.com", "us-east-1"),
        ("cn-north-1", "https://route53.amazonaws.com.cn", "cn-northwest-1"),
        ("us-gov-east-1", "https://route53.us-gov.amazonaws.com", "us-gov-west-1"),
    ],
)
def test_the_region_tells_which_route_53(region: str, host: str, signed: str) -> None:
    found = aws.place(Values({"AWS_REGION": region}))
    assert (found.route53.url, found.route53.region) == (host, signed)
    assert f".{region}." in found.sts.url
