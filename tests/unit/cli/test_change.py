"""What `knit add` and `knit set` say about a certificate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
import pytest

from knit.cli.app import app
from knit.cli.change import change_from, typed_of
from knit.core.wanted import OPTIONS, Change
from knit.errors import Misconfigured


def test_what_is_not_given_is_not_said() -> None:
    assert change_from({"profile": "shortlived"}) == Change(profile="shortlived")


def test_every_flag_arrives() -> None:
    texts = {
        "provider": "desec@west-2",
        "valkey_key": "tls:a",
        "cert_path": "/a.crt",
        "key_path": "/a.key",
        "issuer": "acme",
        "key_type": "RSA2048",
        "profile": "shortlived",
        "preferred_chain": "ISRG Root X1",
    }
    names = {"domains": "a.example, b.example,", "add_names": "c.example", "remove_names": "d.example"}
    switches: dict[str, Any] = {"reuse_key": True, "allow_staging": False}
    assert change_from({**texts, **names, "renew_before": "30d"}, switches) == Change(
        names=("a.example", " b.example"),
        add_names=("c.example",),
        remove_names=("d.example",),
        renew_before=timedelta(days=30),
        **{**switches, **texts},
    )
    assert typed_of({"profile": " short ", "key_type": None, **switches}) == ({"profile": "short"}, switches)


def test_an_empty_text_takes_a_time_away() -> None:
    assert change_from({"renew_before": ""}).renew_before == timedelta(0)


def test_a_time_that_is_none_is_named() -> None:
    with pytest.raises(Misconfigured, match="renew_before '30 days': must be a positive duration"):
        change_from({"renew_before": "30 days"})
    with pytest.raises(Misconfigured, match="renew_before '20': of what"):
        change_from({"renew_before": "20"})


def test_add_has_a_flag_for_every_option_of_the_list_and_no_flag_is_left_out() -> None:
    command = app.get_command(click.Context(app), "add")
    assert command is not None
    flags = {parameter.name for parameter in command.params}
    assert flags - {"domains", "as_records", "must_staple"} == set(OPTIONS)
