"""How the renewal of one certificate ended, in words."""

from __future__ import annotations

import dataclasses

import pytest

from knit.cli.result import Result, report
from tests.unit.cli.test_listed import CERT, NOW


@pytest.mark.parametrize("word", ["failed", "not done"])
@pytest.mark.parametrize("published", [True, False])
def test_what_is_published_stays_only_where_something_is(
    word: str, published: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    cert = dataclasses.replace(CERT, published_at=NOW if published else None)
    assert report(Result(word=word, error="no"), cert, as_records=False) == 1
    assert ("what is published stays" in capsys.readouterr().err) is published
