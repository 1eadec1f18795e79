from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from knit.core.issuers import agree, is_to_be_recorded, of_host, refusal
from knit.core.model.certificate import CertId, CertSpec
from knit.core.model.decision import Policy, Rules
from knit.core.model.issuer import Asked, Identity, Terms
from knit.core.model.keys import KeyType

STAGING = "https://staging.ca.example/directory"
PRODUCTION = "https://ca.example/directory"


def terms(directory: str, name: str = "acme") -> Terms:
    return Terms(name=name, directory=directory)


def test_before_its_first_use_an_issuer_may_be_anything() -> None:
    assert refusal(terms(PRODUCTION), None) is None


def test_an_issuer_stays_what_it_was() -> None:
    assert refusal(terms(PRODUCTION), Identity(PRODUCTION)) is None
    told = refusal(terms(PRODUCTION), Identity(STAGING))
    assert told is not None
    assert all(word in told for word in (STAGING, PRODUCTION, "`knit issuers accept acme`"))
    assert "\n" not in told


@pytest.mark.parametrize(
    ("here", "recorded", "refused", "new"),
    [
        (None, None, False, False),
        (None, "a", False, False),
        ("a", None, False, True),
        ("a", "a", False, False),
        ("b", "a", True, False),
    ],
)
def test_roots_that_are_not_recorded_stop_nobody_and_others_do(
    here: str | None, recorded: str | None, *, refused: bool, new: bool
) -> None:
    one, known = replace(terms(PRODUCTION), roots=here), Identity(PRODUCTION, recorded)
    why = refusal(one, known)
    assert (why is not None, is_to_be_recorded(one, known)) == (refused, new)
    assert why is None or "`knit issuers accept acme`" in why


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
    for changed in ({"key_type": KeyType.RSA2048}, {"profile": "short"}, {"preferred_chain": "X2"}):
        own = Rules(issuers=(replace(both.issuers[0], **changed), both.issuers[1]))
        assert own.fingerprint != both.fingerprint
    assert replace(both, default=("staging",)).fingerprint != both.fingerprint
    assert Rules(issuers=(terms(PRODUCTION),)).fingerprint == f"{PRODUCTION} ", "as it was before there were several"
    assert replace(both, issuers=both.issuers[::-1], default=("acme",)).fingerprint == both.fingerprint


A, B = terms("https://a.example/dir", "a"), terms("https://b.example/dir", "b")
SPEC = CertSpec(
    id=CertId(1), names=("x.example",), provider="exec", valkey_key="x", cert_path="/x.crt", key_path="/x.key"
)


@pytest.mark.parametrize(
    ("rules", "issuer", "names"),
    [
        (Rules(issuers=(A, B)), "", ["a"]),
        (Rules(issuers=(A, B), default=("b", "a")), "", ["b", "a"]),
        (Rules(issuers=(A, B)), "b", ["b"]),
        (Rules(issuers=(A, B)), "b, a", ["b", "a"]),
        (Rules(issuers=(A, B)), "gone,b", ["b"]),
        (Rules(issuers=(A, B)), "gone", []),
        (Rules(issuers=(A, B), default=("b",)), "acme", ["b"]),
        (Rules(issuers=(A, B), default=("b", "a")), "acme,a", ["b", "a", "a"]),
        (Rules(issuers=(terms(PRODUCTION), B), default=("b",)), "acme", ["acme"]),
        (Rules(issuers=(terms(PRODUCTION),)), "", ["acme"]),
    ],
)
def test_a_certificate_has_its_issuers_in_order_and_one_that_names_none_those_of_the_configuration(
    rules: Rules, issuer: str, names: list[str]
) -> None:
    assert [one.name for one in rules.terms_of(replace(SPEC, issuer=issuer))] == names


def test_what_a_certificate_does_not_say_its_issuer_says() -> None:
    own = replace(A, key_type=KeyType.RSA3072, profile="short", preferred_chain="X2")
    same = {"issuer": "a", "directory": A.directory}
    assert A.asked(SPEC) == Asked(**same, key_type=KeyType.EC256)
    assert own.asked(SPEC) == Asked(
        **same,
        key_type=KeyType.RSA3072,
        profile="short",
        preferred_chain="X2",
    )
    said = replace(SPEC, key_type=KeyType.EC384, profile="long", preferred_chain="X1")
    assert own.asked(said) == Asked(
        **same,
        key_type=KeyType.EC384,
        profile="long",
        preferred_chain="X1",
    )


def test_an_attempt_belongs_to_its_directory_whatever_that_is_called_by_now() -> None:
    rules = Rules(issuers=(A, B, replace(B, name="c")))
    assert rules.at(A.directory, "acme") == A
    assert [rules.at(B.directory, name) for name in ("b", "c", "gone")] == [B, replace(B, name="c"), B]
    assert rules.at("https://gone.example/dir", "a") is None
