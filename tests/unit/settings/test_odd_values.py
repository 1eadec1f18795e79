"""Whatever a variable or the file named for it holds, it is taken or refused in words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knit.errors import Misconfigured
from knit.settings.environment import LONGEST_FILE, Environment
from knit.settings.variables import TABLE, Setting

FRAGMENTS = (
    *("redis://", "postgres://", "https://", "host", "=", "@", ":", "/", "[", "]", "%", "?", ",", "-", "."),
    *("9", "\u0663", "\u00b2", "\udcff", "h", "\u00e9"),
)
VALUES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=8).map("".join)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("setting", TABLE, ids=lambda one: one.name)
@FUZZ
@given(value=VALUES.map(lambda text: text.replace("\0", "")))
def test_no_value_of_a_variable_is_more_than_misconfigured(setting: Setting, value: str) -> None:
    with suppress(Misconfigured):
        setting.read(Environment({setting.name: value}))


@pytest.mark.parametrize("setting", TABLE, ids=lambda one: one.name)
@FUZZ
@given(held=VALUES.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=12))
def test_no_file_that_holds_a_value_is_more_than_misconfigured(setting: Setting, held: bytes, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(held)

    with suppress(Misconfigured):
        setting.read(Environment({f"{setting.name}_FILE": str(file)}))


@pytest.mark.parametrize(
    "name", ["KNIT_DB_URL", "KNIT_VALKEY_URL", "KNIT_INDEX_KEY", "KNIT_ACME_EMAIL", "KNIT_ACME_HOSTS"]
)
def test_bytes_that_are_no_text_are_refused(name: str) -> None:
    setting = next(one for one in TABLE if one.name == name)
    start = {"KNIT_DB_URL": "postgres://h/", "KNIT_VALKEY_URL": "redis://h/"}.get(name, "")

    with pytest.raises(Misconfigured, match="must be"):
        setting.read(Environment({name: f"{start}\udcff"}))


@pytest.mark.parametrize("held", [b"a\0b", b"\0", b"x" * (LONGEST_FILE + 1)])
def test_a_file_with_nul_or_without_end_is_refused(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / "value"
    file.write_bytes(held)

    with pytest.raises(Misconfigured, match="must be text of at most"):
        Environment({"HETZNER_API_TOKEN_FILE": str(file)})["HETZNER_API_TOKEN"]
