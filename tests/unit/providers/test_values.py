"""How a provider's settings are found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from knit.core.model.challenge import Challenge, Record
from knit.errors import Misconfigured
from knit.providers.base import UNLIMITED, Runtime, Values, Variable, knobs
from knit.providers.registry import Registry, split
from knit.providers.zones import Zones, candidates, relative

TOKEN = Variable(names=("ACME_TOKEN", "OLD_TOKEN"), help="the token", secret=True)
USER = Variable(names=("ACME_USER",), help="the user")
KEY = Variable(names=("ACME_KEY",), help="the key", secret=True)
TTL = Variable(names=("ACME_TTL",), help="the TTL", default="120")
RUNTIME = Runtime(clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), sleep=lambda _: None)


def test_the_main_name_goes_before_the_old_one() -> None:
    assert Values({"ACME_TOKEN": "new", "OLD_TOKEN": "old"}).text(TOKEN) == "new"
    assert Values({"OLD_TOKEN": "old"}).text(TOKEN) == "old"


def test_an_account_s_own_value_goes_before_the_shared_one_under_any_name() -> None:
    given = {"ACME_TOKEN": "shared", "OLD_TOKEN__WEST": "own"}
    assert Values(given, "west").text(TOKEN) == "own"
    assert Values(given, "east").text(TOKEN) == "shared"
    assert Values(given).text(TOKEN) == "shared"


def test_an_empty_value_counts_as_unset() -> None:
    assert Values({"ACME_TTL": ""}).integer(TTL) == 120


def test_an_account_s_own_set_of_credentials_goes_before_a_shared_set() -> None:
    given = {"ACME_TOKEN": "shared", "ACME_USER__WEST": "me", "ACME_KEY__WEST": "mine"}
    assert Values(given, "west").choose(((TOKEN,), (USER, KEY))) == 1
    assert Values(given).choose(((TOKEN,), (USER, KEY))) == 0


def test_what_is_missing_is_named_for_each_way() -> None:
    with pytest.raises(Misconfigured, match=r"^not set: ACME_TOKEN__WEST, or ACME_KEY__WEST$"):
        Values({"ACME_USER": "me"}, "west").choose(((TOKEN,), (USER, KEY)))


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "٣"])
def test_a_number_that_is_none_is_named_with_its_value(value: str) -> None:
    with pytest.raises(Misconfigured, match="ACME_TTL") as caught:
        Values({"ACME_TTL": value}).integer(TTL)
    assert value in str(caught.value)


def test_a_secret_s_value_is_not_shown() -> None:
    with pytest.raises(Misconfigured) as caught:
        Values({"ACME_TOKEN": "canary"}).integer(TOKEN)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("value", "truth"), [("true", True), ("1", True), ("False", False), ("0", False), ("", False)])
def test_a_truth_value_is_read_as_go_reads_it(value: str, *, truth: bool) -> None:
    assert Values({"ACME_USER": value}).flag(USER) is truth


def test_which_names_are_set_is_told_without_values() -> None:
    assert Values({"OLD_TOKEN": "canary", "ACME_KEY": "x"}).set_names([TOKEN, USER, KEY]) == ("OLD_TOKEN", "ACME_KEY")


def test_aliases_and_accounts_are_taken_apart() -> None:
    assert split("rfc2136@west") == ("dnsupdate", "west")
    assert split("desec") == ("desec", "")


def test_an_unknown_code_is_answered_with_near_ones() -> None:
    with pytest.raises(Misconfigured, match="'dsec'; did you mean desec"):
        split("dsec")


def test_a_solver_is_built_once_and_each_account_has_its_own() -> None:
    registry = Registry({"DESEC_TOKEN": "a", "DESEC_TOKEN__WEST": "b"}, RUNTIME)
    assert registry.solver("desec") is registry.solver("desec")
    assert registry.solver("desec") is not registry.solver("desec@west")


def test_a_missing_credential_names_provider_account_and_variable() -> None:
    with pytest.raises(Misconfigured, match=r"desec@west: not set: DESEC_TOKEN__WEST"):
        Registry({}, RUNTIME).solver("desec@west")


def record(fqdn: str, zone: str) -> Record:
    return Record(
        challenge=Challenge(identifier="x", value="v", token="t", key_authorization="k"), fqdn=fqdn, zone=zone
    )


def test_the_zone_the_dns_shows_is_tried_first_then_the_longest() -> None:
    assert list(candidates(record("_acme-challenge.a.b.org", "b.org"))) == [
        *("b.org", "_acme-challenge.a.b.org", "a.b.org"),
    ]


def test_the_name_inside_a_zone_is_empty_at_its_top() -> None:
    assert relative("a.b.org", "b.org") == "a"
    assert relative("b.org", "b.org") == ""


def test_a_found_zone_is_remembered_and_a_missing_one_is_not() -> None:
    asked: list[str] = []

    def lookup(name: str) -> str | None:
        asked.append(name)
        return "id" if name == "b.org" else None

    zones = Zones("acme", lookup, RUNTIME.clock)
    assert zones.of(record("_acme-challenge.a.b.org", "b.org")) == ("b.org", "id")
    assert zones.of(record("_acme-challenge.c.b.org", "b.org")) == ("b.org", "id")
    assert asked == ["b.org"]


def test_zero_means_what_it_means_to_lego() -> None:
    read = knobs("ACME", timeout=60, interval=2, ttl=120, http=30, pause=60).timing
    given = {f"ACME_{name}": "0" for name in ("POLLING_INTERVAL", "TTL", "HTTP_TIMEOUT", "SEQUENCE_INTERVAL")}
    timing = read(Values(given))
    assert (timing.interval, timing.ttl, timing.http, timing.pause) == (1, 0, UNLIMITED, 0)
    with pytest.raises(Misconfigured, match="ACME_PROPAGATION_TIMEOUT"):
        read(Values({"ACME_PROPAGATION_TIMEOUT": "0"}))
