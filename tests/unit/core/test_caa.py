"""CAA, after RFC 8659 and RFC 8657."""

from __future__ import annotations

import pytest

from knit.core.caa import Caa, CaaIssuer, objection

ACCOUNT = "https://ca.example/acct/1"
US = CaaIssuer(identities=frozenset({"ca.example"}), account_uri=ACCOUNT)


def caa(*texts: str, flags: int = 0) -> list[Caa]:
    return [Caa(flags=flags, tag=tag, value=value) for tag, _, value in (text.partition(" ") for text in texts)]


@pytest.mark.parametrize(
    ("records", "wildcard"),
    [
        (caa(), False),
        (caa("issue ca.example"), False),
        (caa("issue CA.example."), True),
        (caa("issue other.example", "issue ca.example"), False),
        (caa("iodef mailto:a@example.org"), False),
        (caa("issue ;", "issuewild ca.example"), True),
        (caa("issue ca.example", "issuewild ;"), False),
        (caa(f"issue ca.example; accounturi={ACCOUNT}"), False),
        (caa("issue ca.example; validationmethods=http-01,DNS-01"), False),
        (caa(f"issue ca.example;accounturi={ACCOUNT};validationmethods=dns-01 ; "), False),
        (caa("issue ca.example", flags=128), False),
    ],
)
def test_these_let_the_ca_issue(records: list[Caa], *, wildcard: bool) -> None:
    assert objection(records, US, wildcard=wildcard) is None


@pytest.mark.parametrize(
    ("records", "wildcard", "reason"),
    [
        (caa("issue ;"), False, "forbids every CA"),
        (caa("issue other.example"), False, "names another CA"),
        (caa("issue ca.example", "issuewild ;"), True, "forbids every CA"),
        (caa("issue ;", "issuewild ca.example"), False, "forbids every CA"),
        (caa("issue ca.example; accounturi=https://ca.example/acct/2"), False, "acct/2, ours is https://ca.example/"),
        (caa("issue ca.example; validationmethods=http-01"), False, "does not allow dns-01"),
        (caa("issue ca.example; nonsense"), False, "cannot be read"),
        (caa("future x", flags=128), False, "critical"),
    ],
)
def test_these_forbid_it_and_the_reason_is_told(records: list[Caa], reason: str, *, wildcard: bool) -> None:
    found = objection(records, US, wildcard=wildcard)
    assert found is not None
    assert reason in found


def test_an_account_that_is_not_registered_yet_is_told() -> None:
    nobody = CaaIssuer(identities=US.identities, account_uri=None)
    found = objection(caa(f"issue ca.example; accounturi={ACCOUNT}"), nobody, wildcard=False)
    assert found is not None
    assert "not registered yet" in found
