from __future__ import annotations

from datetime import timedelta

from knit.core.issuers import agree, of_host, refusal
from knit.core.model.decision import Policy, Rules
from knit.core.model.issuer import Terms

STAGING = "https://staging.ca.example/directory"
PRODUCTION = "https://ca.example/directory"


def terms(directory: str, name: str = "acme") -> Terms:
    return Terms(name=name, directory=directory)


def test_before_its_first_use_an_issuer_may_be_anything() -> None:
    assert refusal(terms(PRODUCTION), None) is None


def test_an_issuer_stays_what_it_was() -> None:
    assert refusal(terms(PRODUCTION), PRODUCTION) is None
    told = refusal(terms(PRODUCTION), STAGING)
    assert told is not None
    assert all(word in told for word in (STAGING, PRODUCTION, "`knit issuers accept acme`"))
    assert "\n" not in told


def test_of_the_go_knits_account_only_the_host_is_known_and_compared() -> None:
    assert agree(of_host("ca.example"), PRODUCTION)
    assert not agree(of_host("ca.example"), STAGING)
    assert not agree(f"{PRODUCTION}2", PRODUCTION)


def test_rules_give_the_terms_of_a_certificates_issuer_and_change_with_any_of_them() -> None:
    both = Rules(issuers=(terms(PRODUCTION), terms(STAGING, "staging")))
    assert both.terms("staging") == terms(STAGING, "staging")
    assert both.terms("another") is None
    others = (
        Rules(issuers=(terms(PRODUCTION),)),
        Rules(issuers=(terms(STAGING), terms(PRODUCTION, "staging"))),
        Rules(issuers=both.issuers, policy=Policy(threshold=timedelta(days=10))),
    )
    assert len({both.fingerprint, *(rules.fingerprint for rules in others)}) == 4
    assert Rules(issuers=both.issuers[::-1]).fingerprint == both.fingerprint
