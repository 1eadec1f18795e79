"""Rights of files as a node's state log keeps them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from knit.node.traits import Traits

KEY = Traits(uid=0, gid=70, mode=0o640, lists={})


@pytest.mark.parametrize("traits", [KEY, Traits(uid=1, gid=2, mode=0, lists={"system.posix_acl_access": b"\x02\x00"})])
def test_they_come_back_as_they_went_in(traits: Traits) -> None:
    assert Traits.from_json(traits.to_json()) == traits


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        [0, 0, 0o640],
        [0, -1, 0o640, None],
        [0, 2**32 - 1, 0o640, None],
        [0, 0, 0o4755, None],
        [0, 0, -1, None],
        [0, 0, 0o640, "no digits"],
        ["0", 0, 0o640, None],
        [0, 0, 0o640, None, None],
    ],
)
def test_what_are_none_is_a_value_error(fields: object) -> None:
    with pytest.raises(ValueError, match=r"rights|hex"):
        Traits.from_json(fields)


def test_for_a_new_file_they_are_no_wider_for_others_whatever_the_log_says() -> None:
    wide = Traits.from_json([0, 70, 0o777, None])
    assert wide.fit(0o600).mode == 0o770
    assert wide.fit(0o644).mode == 0o774


def test_a_group_that_nobody_chose_gets_nothing_from_what_everybody_had() -> None:
    """As for a file that is there: a chain that all may read, in whose place a key comes."""
    chain = Traits(uid=33, gid=os.getegid(), mode=0o644, lists={})
    assert chain.fit(0o600).mode == 0o600
    assert replace(chain, gid=os.getegid() + 1).fit(0o600).mode == 0o640
