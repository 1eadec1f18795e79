"""Every provider in the registry: its documentation, and lego's names and defaults.

tests/golden/lego-providers.json holds, for each of lego's codes, the variables and defaults read from its Go code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from knit.solvers import docs
from knit.solvers.base import Values, Variable
from knit.solvers.registry import ALIASES, MODULES, provider

ROOT = Path(__file__).parents[3]
LEGO: dict[str, Any] = json.loads((ROOT / "tests/golden/lego-providers.json").read_text())
EVERY = pytest.mark.parametrize("code", sorted(MODULES))


def test_the_page_of_providers_is_what_the_code_says() -> None:
    assert (ROOT / docs.PAGE).read_text() == docs.page(), "run: python -m knit.solvers.docs"


@EVERY
def test_a_provider_is_served_under_its_own_code_and_lego_s_aliases(code: str) -> None:
    assert provider(code).code == code
    assert set(provider(code).aliases) >= set(LEGO[code]["aliases"])
    assert {alias for alias, target in ALIASES.items() if target == code} == set(provider(code).aliases)


@EVERY
def test_waiting_defaults_are_lego_s(code: str) -> None:
    knobs = provider(code).knobs
    for knob, wanted in (
        (knobs.timeout, LEGO[code]["propagation_timeout"]),
        (knobs.interval, LEGO[code]["polling_interval"]),
        (knobs.ttl, LEGO[code]["ttl"]),
    ):
        if wanted is not None and knob is not None and wanted["default"] is not None:
            assert (knob.name, knob.default) == (wanted["env"], str(wanted["default"]))


@EVERY
def test_each_way_to_give_credentials_in_lego_is_enough_here(code: str) -> None:
    for alternative in LEGO[code]["required"]:
        for spelling in (0, -1):
            given = {names[spelling]: "set" for names in alternative}
            Values(given).choose(provider(code).required)


@EVERY
def test_help_is_there_and_secrets_have_no_default(code: str) -> None:
    variables: tuple[Variable, ...] = provider(code).settings
    assert all(variable.help for variable in variables)
    assert not any(variable.secret and variable.default for variable in variables)
    assert len({variable.name for variable in variables}) == len(variables)
