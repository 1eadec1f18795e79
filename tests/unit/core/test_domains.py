"""Registered domains, by the Public Suffix List as it is installed."""

from __future__ import annotations

import pytest

from knit.core.domains import of_names, registered


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("example.org", "example.org"),
        ("a.b.example.org", "example.org"),
        ("*.example.org", "example.org"),
        ("new.blog.example.co.uk", "example.co.uk"),
        ("alice.github.io", "alice.github.io"),
        ("*.x.alice.github.io", "alice.github.io"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("co.uk", "co.uk"),
        ("host.corp.internal", "corp.internal"),
        ("localhost", "localhost"),
    ],
)
def test_the_part_below_a_public_suffix_is_what_somebody_registered(name: str, domain: str) -> None:
    assert registered(name) == domain


def test_domains_of_a_certificate_are_told_once_each() -> None:
    assert of_names(("b.example.org", "a.example.org", "example.net")) == ("example.net", "example.org")
