"""Which zone a record goes into where an API keeps some names from us."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from knit.core.model.challenge import Challenge, Record
from knit.errors import CredentialsRejected, Refused
from knit.providers.zones import Zones

CHALLENGE = Challenge(identifier="www.a.example.org", value="v", token="t", key_authorization="k")
RECORD = Record(challenge=CHALLENGE, fqdn="_acme-challenge.www.a.example.org", zone="a.example.org")


def zones(known: str, *, forbids: bool = True, knows_us: bool = True) -> tuple[Zones[str], list[str]]:
    asked: list[str] = []

    def lookup(name: str) -> str | None:
        asked.append(name)
        if name != known and forbids:
            raise CredentialsRejected(f"no right to {name}", forbidden=knows_us)
        return f"id of {name}" if name == known else None

    return Zones("api", lookup, lambda: datetime.now(UTC)), asked


@pytest.mark.parametrize("known", ["a.example.org", "www.a.example.org", "example.org"])
def test_a_name_that_is_forbidden_does_not_end_the_search(known: str) -> None:
    assert zones(known)[0].of(RECORD) == (known, f"id of {known}")


def test_where_no_zone_is_to_be_had_the_first_refusal_is_told() -> None:
    with pytest.raises(CredentialsRejected, match=r"no right to a\.example\.org"):
        zones("elsewhere")[0].of(RECORD)


def test_a_credential_that_is_not_known_at_all_ends_the_search_at_once() -> None:
    found, asked = zones("example.org", knows_us=False)
    with pytest.raises(CredentialsRejected):
        found.of(RECORD)
    assert asked == ["a.example.org"]


def test_where_nothing_is_forbidden_the_account_has_no_zone() -> None:
    with pytest.raises(Refused, match="this account has no zone"):
        zones("elsewhere", forbids=False)[0].of(RECORD)
