from __future__ import annotations

from knit.core.issuers import agree, of_host, refusal

STAGING = "https://staging.ca.example/directory"
PRODUCTION = "https://ca.example/directory"


def test_before_its_first_use_an_issuer_may_be_anything() -> None:
    assert refusal("acme", None, PRODUCTION) is None


def test_an_issuer_stays_what_it_was() -> None:
    assert refusal("acme", PRODUCTION, PRODUCTION) is None
    told = refusal("acme", STAGING, PRODUCTION)
    assert told is not None
    assert all(word in told for word in (STAGING, PRODUCTION, "`knit issuers accept acme`"))
    assert "\n" not in told


def test_of_the_go_knits_account_only_the_host_is_known_and_compared() -> None:
    assert agree(of_host("ca.example"), PRODUCTION)
    assert not agree(of_host("ca.example"), STAGING)
    assert not agree(f"{PRODUCTION}2", PRODUCTION)
