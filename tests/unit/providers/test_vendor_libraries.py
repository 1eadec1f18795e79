"""Providers whose authentication needs a vendor's library say so when it is not installed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from knit.errors import Misconfigured
from knit.providers.base import Runtime
from knit.providers.registry import Registry

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=lambda _: None)


@pytest.mark.parametrize(
    ("code", "module", "extra"),
    [
        ("route53", "botocore.session", r"knit-certs\[route53\]"),
        ("gcloud", "google.auth", r"knit-certs\[gcloud\]"),
        ("azuredns", "azure.identity", r"knit-certs\[azuredns\]"),
    ],
)
def test_a_missing_library_is_a_wrong_setting_that_names_the_extra(
    code: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Misconfigured, match=extra):
        Registry({}, RUNTIME).solver(code)


def test_aws_keys_of_the_settings_need_the_library_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    given = {"AWS_ACCESS_KEY_ID__WEST": "id", "AWS_SECRET_ACCESS_KEY__WEST": "secret"}
    with pytest.raises(Misconfigured, match=r"pip install 'knit-certs\[route53\]'"):
        Registry(given, RUNTIME).solver("route53@west")
