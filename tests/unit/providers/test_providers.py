"""Every provider in the registry: its documentation, and lego's names and defaults.

tests/golden/lego-providers.json holds, for each code of the lego it was made from, the variables and defaults read from
its Go code. A code of knit's own has nothing there, and what lego says is then compared with nothing: it is skipped by
name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from knit.errors import Misconfigured
from knit.providers import docs
from knit.providers.base import Values, Variable
from knit.providers.catalog import Driver, service, services
from knit.providers.registry import ALIASES, DROPPED, MODULES, provider, split

ROOT = Path(__file__).parents[3]
LEGO: dict[str, Any] = json.loads((ROOT / "tests/golden/lego-providers.json").read_text())
EVERY = pytest.mark.parametrize("code", sorted(MODULES))
NOT_LEGO = "lego's facts (tests/golden/lego-providers.json) have no code {}: there is nothing to compare"


def lego(code: str) -> dict[str, Any]:
    """What lego says of it; a code that lego does not have is skipped, and the reason names it."""
    if code not in LEGO:
        pytest.skip(NOT_LEGO.format(code))
    facts: dict[str, Any] = LEGO[code]
    return facts


def test_the_page_of_providers_is_what_the_code_says() -> None:
    assert (ROOT / docs.PAGE).read_text() == docs.page(), "run: python -m knit.providers.docs"


@EVERY
def test_a_provider_is_served_under_its_own_code_and_aliases(code: str) -> None:
    assert provider(code).code == code
    assert {alias for alias, target in ALIASES.items() if target == code} >= set(provider(code).aliases)


@EVERY
def test_a_provider_has_lego_s_aliases(code: str) -> None:
    assert set(provider(code).aliases) >= set(lego(code)["aliases"])


@EVERY
def test_waiting_defaults_are_lego_s(code: str) -> None:
    knobs, facts = provider(code).knobs, lego(code)
    for knob, wanted in (
        (knobs.timeout, facts["propagation_timeout"]),
        (knobs.interval, facts["polling_interval"]),
        (knobs.ttl, facts["ttl"]),
        (knobs.http, facts["http_timeout"]),
        (knobs.pause, facts.get("sequence_interval")),
    ):
        if wanted is not None and knob is not None and wanted["default"] is not None and knob.default is not None:
            assert (knob.name, knob.default) == (wanted["env"], str(wanted["default"]))


@EVERY
def test_every_sequence_interval_of_lego_is_read(code: str) -> None:
    wanted, knob = lego(code).get("sequence_interval"), provider(code).knobs.pause
    assert (knob and knob.name) == (wanted and wanted["env"])


@EVERY
def test_each_way_to_give_credentials_in_lego_is_enough_here(code: str) -> None:
    for alternative in lego(code)["required"]:
        for spelling in (0, -1):
            given = {names[spelling]: "set" for names in alternative}
            Values(given).choose(provider(code).required)


@EVERY
def test_help_is_there_and_secrets_have_no_default(code: str) -> None:
    variables: tuple[Variable, ...] = provider(code).settings
    assert all(variable.help for variable in variables)
    assert not any(variable.secret and variable.default for variable in variables)
    assert len({variable.name for variable in variables}) == len(variables)


def test_a_code_that_lego_does_not_have_is_compared_with_nothing_and_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="have no code tidal: there is nothing to compare"):
        lego("tidal")
    assert {code: lego(code) for code in MODULES if code in LEGO}, "nothing at all is compared"


def test_every_code_of_lego_is_served_or_has_a_reason_why_not() -> None:
    named = {one.code: one for one in services()}
    assert set(LEGO) <= set(named)
    for code, one in named.items():
        assert (one.provider is None) == (one.driver is Driver.NONE) == bool(one.reason)
        assert (one.driver is Driver.NATIVE) == (code in MODULES)
    assert {code for code in LEGO if named[code].driver is Driver.NONE} <= {"manual", "stackpath"}


def test_every_alias_of_lego_leads_to_its_code() -> None:
    aliases = {alias: code for code, facts in LEGO.items() for alias in facts["aliases"]}
    assert aliases.items() <= ALIASES.items()
    assert service("rfc2136").code == "dnsupdate"


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ("brandit", "abion"),
        ("cloudxns", "closed"),
        ("dnspod", "tencentcloud"),
        ("googledomains", "CNAME"),
        ("iij", "iijdpf"),
        ("iwantmyname", "CNAME"),
    ],
)
def test_a_code_that_lego_has_dropped_says_what_to_use(old: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=rf"{old} is not served: .*{said}"):
        split(old)
    assert said in service(old).reason


def test_azure_still_means_azuredns() -> None:
    assert split("azure@west") == ("azuredns", "west")


def test_a_reason_never_points_to_a_code_that_is_not_served() -> None:
    codes = {one.code for one in services() if one.provider is not None}
    for reason in DROPPED.values():
        for word in reason.partition("use ")[2].replace(",", " ").split()[:1]:
            assert word in codes


def test_an_unknown_code_names_near_ones_and_only_such_as_are_served() -> None:
    with pytest.raises(Misconfigured, match="did you mean cloudflare"):
        split("cloudflair")
    with pytest.raises(Misconfigured, match="`knit providers` lists all codes"):
        split("qqqqqqqqqqqq")


def test_only_names_of_what_is_set_are_told_and_each_account_s_first() -> None:
    env = {"ABION_API_KEY": "canary", "ABION_API_KEY__WEST": "canary", "CIVO_TOKEN": "canary"}
    assert service("abion").set_names(env) == ("ABION_API_KEY",)
    assert service("abion@west").set_names(env, "west") == ("ABION_API_KEY__WEST", "ABION_API_KEY")


def test_the_page_has_a_row_for_every_code_and_says_what_serves_it() -> None:
    page = docs.page()
    for one in services():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{one.code}`"))
        served = row.split(" | ")[2]
        assert {Driver.NATIVE: "[knit]", Driver.LEGO: "lego", Driver.NONE: "not served"}[one.driver] in served
