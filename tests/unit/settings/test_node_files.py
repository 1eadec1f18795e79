"""Thousands of node files made at random: whatever they say, nothing goes astray."""

from __future__ import annotations

import pytest

from tests.unit.settings.node_files import broken, run

CASES = 1500


def test_no_file_leads_outside_of_its_folders_or_to_more_than_one_sentence() -> None:
    taken, problems = run(seed=1, count=CASES)
    assert problems == []
    assert taken > CASES / 8, "enough of them say something"


@pytest.mark.parametrize(
    ("path", "name", "astray"),
    [
        ("/srv/tls/{name}.crt", "www.example", False),
        ("/etc/ssh/{name}.crt", "www.example", True),
        ("/srv/tls/{name}", "sudoers", True),
    ],
)
def test_the_oracle_sees_what_the_list_of_forbidden_files_keeps_out(
    path: str, name: str, astray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knit.core.placement.never", lambda _: False)
    taken, found = broken(f'[place.a]\nfiles = [{{ content = "cert", path = "{path}" }}]', [name])
    assert taken
    assert bool(found) is astray
