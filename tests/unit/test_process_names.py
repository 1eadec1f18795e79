"""What a process is called in PostgreSQL has room there, and is plain ASCII."""

from __future__ import annotations

import pytest

from knit.app.names import LONGEST, name_of, person


def test_a_person_is_named_with_the_host() -> None:
    assert name_of("ada", "admin.example.org") == "knit ada@admin.example.org"
    assert person().startswith("knit ")


@pytest.mark.parametrize(("user", "host"), [("ada", "h" * 64), ("u" * 200, "host"), ("ädä", "ü" * 64)])
def test_however_long_user_and_host_are_it_has_room(user: str, host: str) -> None:
    name = name_of(user, host)
    assert len(name.encode()) <= LONGEST
    assert name.isascii()
    assert "@" in name
