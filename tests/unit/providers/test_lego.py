"""The table of lego's codes, what a child gets to see, and what lego's errors mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Refused, Unreachable
from knit.providers.base import Values
from knit.providers.lego import answers
from knit.providers.lego.provider import CLEARS, ONE_VALUE, described, setup
from knit.providers.lego.table import table
from knit.providers.registry import MODULES
from tests.golden.lego_table import KNOBS, text

ROOT = Path(__file__).parents[3]
FACTS = ROOT.parent / "shared/facts/lego-providers.json"
GOLDEN = json.loads((ROOT / "tests/golden/lego-providers.json").read_text())
EVERY = pytest.mark.parametrize("code", sorted(table().keys() & GOLDEN.keys()))
"""Codes of which either knows nothing are the matter of one test: it names them."""


def test_the_table_is_the_one_made_from_the_facts() -> None:
    if not FACTS.exists():
        pytest.skip("the facts about lego are not beside this repository")
    made = text(json.loads(FACTS.read_text()))
    assert (ROOT / "knit/providers/lego/table.json").read_text(encoding="utf-8") == made


def test_the_table_has_exactly_the_codes_of_the_lego_that_it_is_compared_with() -> None:
    table_only, golden_only = sorted(table().keys() - GOLDEN.keys()), sorted(GOLDEN.keys() - table().keys())
    assert (table_only, golden_only) == ([], []), "make table and golden facts from the same lego: see lego_table.py"
    assert GOLDEN


@EVERY
def test_names_aliases_and_figures_of_the_table_are_lego_s(code: str) -> None:
    entry, facts = table()[code], GOLDEN[code]
    assert (entry.name, list(entry.aliases)) == (facts["name"], facts["aliases"])
    assert {tuple(map(tuple, wanted)) for wanted in facts["required"]} == set(entry.required)
    for knob, fact in KNOBS.items():
        wanted = (facts.get(fact) or None) and (facts[fact]["env"], facts[fact]["default"])
        assert entry.knobs.get(knob) == wanted


@EVERY
def test_each_code_makes_a_provider_whose_timing_can_be_read(code: str) -> None:
    entry = table()[code]
    provider = described(entry)
    timing = provider.knobs.timing(Values({}))
    assert timing.timeout >= timing.interval > 0
    assert len({variable.name for variable in provider.settings}) == len(provider.settings)


@EVERY
def test_what_lego_serves_one_by_one_is_proved_one_by_one_with_lego_s_pause(code: str) -> None:
    entry, facts = table()[code], GOLDEN[code]
    knob = described(entry).knobs.pause
    assert (knob is not None) == (entry.sequential and facts.get("sequence_interval") is not None)
    if knob is not None:
        assert (knob.name, knob.default) == (
            facts["sequence_interval"]["env"],
            str(facts["sequence_interval"]["default"]),
        )
        assert described(entry).knobs.timing(Values({knob.name: "0"})).pause == 0


def test_codes_that_cannot_keep_values_apart_are_codes_that_the_bridge_serves() -> None:
    assert ONE_VALUE.isdisjoint(CLEARS)
    assert set(table()) - set(MODULES) >= ONE_VALUE | CLEARS
    assert {"dnshomede", "mittwald"} <= ONE_VALUE


@pytest.mark.parametrize(
    ("code", "given", "needs"),
    [
        ("cloudns", {}, 180 + 2 * 30),
        ("cloudns", {"CLOUDNS_PROPAGATION_TIMEOUT": "900"}, 900 + 2 * 30),
        ("allinkl", {}, 180 + 8 * 30),
        ("variomedia", {}, 300 + 2 * 30),
        ("loopia", {"LOOPIA_HTTP_TIMEOUT": "100"}, 3 * 100),
    ],
)
def test_a_call_of_lego_may_take_as_long_as_lego_s_own_waits(code: str, given: dict[str, str], needs: float) -> None:
    entry = table()[code]
    credentials = {names[0]: "x" for names in entry.required[0]}
    assert setup(entry, Values({**credentials, **given})).deadline >= needs


def test_a_child_sees_its_provider_s_variables_and_the_ground_and_nothing_else() -> None:
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "HTTPS_PROXY": "http://proxy",
        "LANG": "de",
        "KNIT_DB_URL": "canary",
        "ABION_API_KEY": "k",
        "ABION_TTL": "60",
        "ABION_LATER": "new",
        "CIVO_TOKEN": "canary",
    }
    account = setup(table()["abion"], Values(given))
    assert account.values == {"ABION_API_KEY": "k", "ABION_TTL": "60", "ABION_LATER": "new"}
    assert account.environment == {"PATH": "/bin", "HOME": "/root", "HTTPS_PROXY": "http://proxy"}
    assert "canary" not in repr(account)
    assert "'k'" not in repr(account)


def test_a_second_account_s_values_stand_under_the_plain_names() -> None:
    given = {"CIVO_TOKEN": "first", "CIVO_TOKEN__WEST": "second", "CIVO_TTL": "700", "CIVO_TOKEN__EAST": "third"}
    assert setup(table()["civo"], Values(given, "west")).values == {"CIVO_TOKEN": "second", "CIVO_TTL": "700"}


def test_a_second_account_s_kind_of_credential_is_the_only_one_lego_sees() -> None:
    given = {
        "ALICLOUD_RAM_ROLE": "first",
        "ALICLOUD_ACCESS_KEY__WEST": "key",
        "ALICLOUD_SECRET_KEY__WEST": "secret",
    }
    values = setup(table()["alidns"], Values(given, "west")).values
    assert values == {"ALICLOUD_ACCESS_KEY": "key", "ALICLOUD_SECRET_KEY": "secret"}


def test_the_variables_of_a_vendor_s_library_pass() -> None:
    given = {"DNS_ZONE": "example.org", "AWS_PROFILE": "certs", "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"}
    assert setup(table()["lightsail"], Values(given)).values == given


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("civo: [status code: 401] body: nope", CredentialsRejected),
        ("abion: unexpected status code: [status code: 403] body: ", CredentialsRejected),
        ("error: 401 Unauthorized", CredentialsRejected),
        ("login: Invalid API key", CredentialsRejected),
        ("[status code: 429] body: ", RateLimited),
        ("Rate limit exceeded", RateLimited),
        ("[status code: 500] body: ", Unreachable),
        ("could not find zone for domain 401.example", Unreachable),
        ('Post "https://x/": context deadline exceeded', Unreachable),
        ("record 14403 is locked", Unreachable),
    ],
)
def test_an_error_s_class_follows_from_lego_s_words(said: str, kind: type[KnitError]) -> None:
    error = answers.Words("civo", {}).failed(said)
    assert type(error) is kind
    assert said.strip() in str(error)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("civo: some credentials information are missing: CIVO_TOKEN", Misconfigured),
        ("hyperone: failed to open passport file", Misconfigured),
        ("designate: Authentication failed", CredentialsRejected),
        ("designate: dial tcp 10.0.0.1:443: i/o timeout", Unreachable),
    ],
)
def test_a_provider_that_cannot_be_set_up_is_misconfigured_unless_the_network_or_the_vendor_says_no(
    said: str, kind: type[KnitError]
) -> None:
    assert type(answers.Words("x", {}).refused_settings(said)) is kind


def test_no_spelling_of_a_secret_is_shown_and_the_text_is_one_short_line() -> None:
    key = "-----BEGIN KEY-----\nAAAAcanary\n-----END KEY-----"
    words = answers.Words("x", {"X_TOKEN": "can/ary", "X_KEY": key, "X_URL": "https://api.example/"})
    shown = words.clean('Get "https://api.example/?k=can%2Fary": can/ary\nAAAAcanary\x1b[0m ' + "x" * 5000)
    assert "canary" not in shown
    assert "can/ary" not in shown
    assert "can%2Fary" not in shown
    assert "https://api.example/" in shown
    assert shown.isprintable()
    assert len(shown) < 500


def test_a_record_only_a_person_can_remove_is_told_with_its_place() -> None:
    assert answers.is_forgotten("porkbun: unknown record ID for '_acme-challenge.a.' 'token'")
    assert not answers.is_forgotten("abion: zone not found")
    error = answers.left_behind("porkbun", "_acme-challenge.a", "value")
    assert isinstance(error, Refused)
    assert "remove the TXT value value at _acme-challenge.a by hand" in str(error)
