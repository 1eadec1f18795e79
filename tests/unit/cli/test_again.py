"""Another certificate for the same names within a day is asked for twice."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from knit.cli.renew import _not_again
from knit.errors import Refused
from tests.unit.cli.test_listed import CERT


@pytest.mark.parametrize(("hours", "refused"), [(1, True), (23, True), (25, False)])
def test_a_day_after_the_last_one_nobody_is_asked_again(hours: int, *, refused: bool) -> None:
    done = dataclasses.replace(CERT, last_renewed=datetime.now(UTC) - timedelta(hours=hours))
    if refused:
        with pytest.raises(Refused, match="less than a day ago"):
            _not_again(done, again=False)
        _not_again(done, again=True)
    else:
        _not_again(done, again=False)


def test_what_was_never_renewed_needs_no_second_word() -> None:
    _not_again(dataclasses.replace(CERT, last_renewed=None), again=False)
