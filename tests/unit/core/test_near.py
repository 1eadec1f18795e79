"""A slip of the finger is understood; a word that only looks alike is not taken for one."""

from __future__ import annotations

import string

import pytest

from knit.core.near import near

COMMANDS = ("add", "set", "remove", "list", "show", "enable", "disable", "renew", "watch", "prune", "issuers", "dns")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lst", ("list",)),
        ("lsit", ("list",)),
        ("shw", ("show",)),
        ("isuers", ("issuers",)),
        ("dis", ("dns",)),
        ("remov", ("remove",)),
        ("iss", ("issuers",)),
        ("new", ()),
        ("create", ()),
        ("delete", ()),
        ("init", ()),
        ("start", ()),
        ("run", ()),
        ("", ()),
    ],
)
def test_near(word: str, meant: tuple[str, ...]) -> None:
    assert near(word, COMMANDS) == meant


def test_parts_of_a_name_find_it_and_too_many_find_none() -> None:
    known = ("DB_URL", "VALKEY_URL", "QUEUE_URL", "ACME_EMAIL", "A_URL", "ACME_EAB_KID", "ACME_HOSTS", "ACME_CA_FILE")
    assert near("EMAIL", known) == ("ACME_EMAIL",)
    assert near("VALKEYURL", known) == ("VALKEY_URL",)
    assert near("ACME", known) == ()


@pytest.mark.parametrize("word", [one for one in COMMANDS if len(one) > 3])
def test_one_letter_wrong_left_out_or_exchanged_is_always_understood(word: str) -> None:
    for at in range(1, len(word) - 1):
        slips = (
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            *(word[:at] + letter + word[at + 1 :] for letter in string.ascii_lowercase),
        )
        for slip in slips:
            assert word in near(slip, COMMANDS), slip
