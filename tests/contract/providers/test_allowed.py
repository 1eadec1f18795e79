"""A CNAME leads our credentials only where the user lets them write."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from knit.app.locks import KeyedLocks
from knit.core.model.challenge import Challenge, Record
from knit.core.places import Allowed
from knit.dns.prover import Dns01, Shared
from knit.errors import Refused
from knit.ports.solving import Paced
from knit.providers import desec
from knit.providers.base import Values
from knit.providers.registry import MODULES, provider
from rig.dns_api.desec import FakeDesec
from tests.contract.providers.test_dns01 import RUNTIME, Delegation, Journal, challenge


class Leading(Delegation):
    """Every challenge is delegated to one name."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def locate(self, challenge: Challenge) -> Record:
        return Record(challenge=challenge, fqdn=self.target, zone="victim.example")


@pytest.fixture
def api() -> Iterator[FakeDesec]:
    api = FakeDesec()
    api.add_zone("victim.example")
    with api.serving():
        yield api
    assert api.complaints == []


def prover(api: FakeDesec, shared: Shared, given: dict[str, str], account: str = "", code: str = "desec") -> Dns01:
    values = Values({"DESEC_TOKEN": FakeDesec.token, **given}, account)
    made = desec.PROVIDER.solver(values, RUNTIME)
    assert isinstance(made, desec.Desec)
    here = desec.Desec(FakeDesec.token, desec.PROVIDER.knobs.timing(values), RUNTIME, url=api.url)
    here.allowed = made.allowed
    return Dns01(code, here, Journal(), shared)


def leading(target: str) -> Shared:
    return Shared(delegation=Leading(target), exclusive=KeyedLocks())


@pytest.mark.parametrize("target", ["shop.victim.example", "_dmarc.victim.example", "victim.example"])
@pytest.mark.parametrize(
    ("account", "name"),
    [("", "DESEC_ALLOWED_NAMES"), ("west", "DESEC_ALLOWED_NAMES__WEST"), ("west", "DESEC_ALLOWED_NAMES")],
)
def test_nothing_is_written_where_the_list_has_no_place(api: FakeDesec, target: str, account: str, name: str) -> None:
    given = {name: "acme.victim.example, _acme-challenge.*"}
    proof = prover(api, leading(target), given, account)
    with pytest.raises(Refused, match=name) as caught, proof.proving([challenge("value")]):
        pass
    assert target in str(caught.value)
    assert "_acme-challenge.example.org leads there by CNAME" in str(caught.value)
    assert api.requests == []


@pytest.mark.parametrize(
    "entry",
    [
        "victim.example",
        "shop.victim.example",
        "SHOP.victim.example.",
        "sh*.victim.example",
        "other.test shop.victim.example",
    ],
)
def test_a_place_on_the_list_is_written_to(api: FakeDesec, entry: str) -> None:
    with prover(api, leading("shop.victim.example"), {"DESEC_ALLOWED_NAMES": entry}).proving([challenge("value")]):
        assert api.values("shop.victim.example") == ["value"]


@pytest.mark.parametrize("entry", ["op.victim.example", "a.shop.victim.example", "sho?.victim.example", ","])
def test_what_only_looks_alike_is_no_place(api: FakeDesec, entry: str) -> None:
    with (
        pytest.raises(Refused),
        prover(api, leading("shop.victim.example"), {"DESEC_ALLOWED_NAMES": entry}).proving([challenge("value")]),
    ):
        pass
    assert api.requests == []


def test_without_a_list_an_odd_target_is_logged_once(api: FakeDesec, caplog: pytest.LogCaptureFixture) -> None:
    shared = leading("_dmarc.victim.example")
    with caplog.at_level(logging.WARNING):
        for value in ("one", "two"):
            with prover(api, shared, {}).proving([challenge(value)]):
                assert api.values("_dmarc.victim.example") == [value]
    (said,) = caplog.records
    assert vars(said)["target"] == "_dmarc.victim.example"
    assert vars(said)["setting"] == "DESEC_ALLOWED_NAMES"


@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("_acme-challenge.victim.example", {}),
        ("_dmarc.victim.example", {"DESEC_ALLOWED_NAMES": "victim.example"}),
    ],
)
def test_a_target_that_is_made_for_challenges_or_listed_is_not_logged(
    api: FakeDesec, caplog: pytest.LogCaptureFixture, target: str, given: dict[str, str]
) -> None:
    with caplog.at_level(logging.WARNING), prover(api, leading(target), given).proving([challenge("one")]):
        pass
    assert caplog.records == []


def test_every_provider_has_the_list() -> None:
    names = [provider(code).places.name for code in MODULES]
    assert names == [f"{code.upper()}_ALLOWED_NAMES" for code in MODULES]
    assert all(provider(code).places in provider(code).settings for code in MODULES)
    assert Paced.allowed == Allowed(variable="")
