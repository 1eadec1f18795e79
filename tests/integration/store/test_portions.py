"""What a pass writes about many certificates is many short statements: each has a deadline, and some of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.model.certificate import CertId
from knit.core.model.decision import Wait
from knit.errors import Refused
from knit.store.budget.budgets import Budgets
from knit.store.journal.holding import PORTION
from tests.integration.store.conftest import RULES, Store

MANY = tuple(CertId(number) for number in range(1, 2 * PORTION + 2))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(
            lambda store: store.passes.plan_checks(dict.fromkeys(MANY, datetime.now(UTC) + timedelta(days=1)), RULES),
            id="what is not due",
        ),
        pytest.param(
            lambda store: Budgets(store.database).wait(
                dict.fromkeys(MANY, Wait(until=datetime.now(UTC) + timedelta(days=1), reason="no room")), RULES
            ),
            id="what has no room",
        ),
        pytest.param(lambda store: store.passes.asked(MANY), id="what workers were asked for"),
        pytest.param(lambda store: store.passes.complain(MANY, Refused("held back")), id="what is held back"),
    ],
)
def test_no_statement_is_about_more_certificates_than_it_has_time_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, write: Callable[[Store], None]
) -> None:
    given: list[int] = []
    whole = store.database.write

    def counted(statement: str, parameters: dict[str, object]) -> int:
        given.append(len(parameters["ids"]))  # type: ignore[arg-type]
        return whole(statement, parameters)

    monkeypatch.setattr(type(store.database), "write", lambda _, *arguments: counted(*arguments))
    write(store)
    assert given == [PORTION, PORTION, 1]
