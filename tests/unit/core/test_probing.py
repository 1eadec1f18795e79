from __future__ import annotations

import pytest

from knit.core.probing import server_name


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("www.example.org", "www.example.org"),
        ("*.example.org", "knit-probe.example.org"),
        ("10.0.0.1", None),
        ("::1", None),
        (None, None),
    ],
)
def test_a_server_is_asked_for_a_name_that_a_client_could_ask_for(name: str | None, asked: str | None) -> None:
    assert server_name(name) == asked
