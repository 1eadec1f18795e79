"""Cloudflare keeps the solver contract."""

from __future__ import annotations

import pytest

from knit.errors import CredentialsRejected, Refused
from knit.ports.solving import Timing
from knit.providers import cloudflare
from knit.providers.base import Runtime, Values
from rig.dns_api.cloudflare import FakeCloudflare
from tests.contract.providers.suite import NOW, ONE, TIMING, Case, SolverContract, record

TOKENS = {
    "CF_DNS_API_TOKEN": FakeCloudflare.dns_token,
    "CLOUDFLARE_ZONE_API_TOKEN": FakeCloudflare.zone_token,
}
KEY = {"CLOUDFLARE_EMAIL": FakeCloudflare.email, "CF_API_KEY": FakeCloudflare.key}
RUNTIME = Runtime(clock=lambda: NOW, sleep=lambda _: None)


class TestCloudflare(SolverContract):
    case = Case(
        provider=cloudflare.PROVIDER,
        fake=FakeCloudflare,
        credentials=TOKENS,
        secrets=(FakeCloudflare.dns_token, FakeCloudflare.zone_token),
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> cloudflare.Cloudflare:
        writer, reader = cloudflare.by_token(FakeCloudflare.dns_token), cloudflare.by_token(FakeCloudflare.zone_token)
        return cloudflare.Cloudflare(writer, reader, timing, runtime, url=url)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> cloudflare.Cloudflare:
        account = cloudflare.by_token("another")
        return cloudflare.Cloudflare(account, account, timing, runtime, url=url)


class TestCloudflareByKey(TestCloudflare):
    case = Case(provider=cloudflare.PROVIDER, fake=FakeCloudflare, credentials=KEY, secrets=(FakeCloudflare.key,))

    def build(self, url: str, timing: Timing, runtime: Runtime) -> cloudflare.Cloudflare:
        account = cloudflare.by_key(FakeCloudflare.key, FakeCloudflare.email)
        return cloudflare.Cloudflare(account, account, timing, runtime, url=url)


@pytest.mark.parametrize("credentials", [TOKENS, KEY])
def test_the_user_s_variables_reach_the_api(credentials: dict[str, str]) -> None:
    api = FakeCloudflare()
    with api.serving() as url:
        api.add_zone("example.org")
        cloudflare.PROVIDER.solver(Values({**credentials, "CLOUDFLARE_BASE_URL": url}), RUNTIME).present(ONE)
    assert api.values(ONE.fqdn) == [ONE.value]


def test_key_and_address_go_before_tokens_as_in_lego() -> None:
    api = FakeCloudflare()
    with api.serving() as url:
        api.add_zone("example.org")
        given = {**KEY, "CLOUDFLARE_DNS_API_TOKEN": "a wrong token", "CLOUDFLARE_BASE_URL": url}
        cloudflare.PROVIDER.solver(Values(given), RUNTIME).present(ONE)
    assert api.values(ONE.fqdn) == [ONE.value]


def test_a_malformed_token_is_a_rejected_credential() -> None:
    api = FakeCloudflare()
    with api.serving() as url, pytest.raises(CredentialsRejected, match="Invalid request headers"):
        account = cloudflare.by_token("two words")
        cloudflare.Cloudflare(account, account, TIMING, RUNTIME, url=url).present(ONE)


def test_of_two_zones_with_one_name_the_delegated_one_is_taken() -> None:
    api = FakeCloudflare()
    with api.serving() as url:
        api.add_zone("example.org", "pending")
        api.add_zone("example.org")
        cloudflare.PROVIDER.solver(Values({**KEY, "CF_BASE_URL": url}), RUNTIME).present(ONE)
    pending, active = api.rows.values()
    assert not pending
    assert active


def test_a_value_set_without_quotes_and_behind_a_page_of_others_is_found() -> None:
    api = FakeCloudflare()
    with api.serving() as url:
        api.add_zone("example.org")
        for value in ("one", "two", "three"):
            api.seed("example.org", ONE.fqdn, value)
        api.seed("example.org", ONE.fqdn, ONE.value)
        cloudflare.PROVIDER.solver(Values({**KEY, "CF_BASE_URL": url}), RUNTIME).cleanup(ONE, None)
    assert api.values(ONE.fqdn) == ["one", "two", "three"]


def test_a_zone_that_does_not_show_comes_with_the_right_it_may_lack() -> None:
    api = FakeCloudflare()
    with api.serving() as url, pytest.raises(Refused, match="Zone: Read"):
        cloudflare.PROVIDER.solver(Values({**KEY, "CF_BASE_URL": url}), RUNTIME).present(ONE)


@pytest.mark.parametrize("finds_ascii", [True, False])
def test_a_zone_whose_name_is_international_is_found_and_cleared(finds_ascii: bool) -> None:
    api = FakeCloudflare()
    api.finds_ascii = finds_ascii
    place = record("value", "_acme-challenge.www.xn--bcher-kva.example", zone="xn--bcher-kva.example")
    with api.serving() as url:
        api.add_zone("bücher.example")
        solver = cloudflare.PROVIDER.solver(Values({**KEY, "CF_BASE_URL": url}), RUNTIME)
        solver.present(place)
        assert api.values(place.fqdn) == ["value"]
        for rows in api.rows.values():
            for row in rows.values():
                row["name"] = "_acme-challenge.www.bücher.example"
        solver.cleanup(place, None)
    assert not any(api.rows.values())
