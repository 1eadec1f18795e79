"""What is written about many certificates is many short statements: each has a deadline, and what is done is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.model.account import Account
from knit.core.model.certificate import CertId
from knit.core.model.decision import Wait
from knit.errors import Interrupted, Refused
from knit.store.accounts.accounts import Accounts
from knit.store.accounts.sealing import Seal
from knit.store.budget.budgets import Budgets
from knit.store.passes.agenda import Agendas
from knit.store.portions import PORTION
from knit.store.queries import Row
from tests.integration.store.conftest import DIRECTORY, RULES, Store

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


def dying(store: Store, monkeypatch: pytest.MonkeyPatch, *, after: int | None) -> list[int]:
    """Count the rows that each statement has changed, and have the process die after so many of these."""
    counted: list[int] = []
    whole = store.database.rows

    def rows(_: object, *arguments: object) -> Sequence[Row]:
        if len(counted) == after:
            message = "killed"
            raise Interrupted(message)
        found = whole(*arguments)  # type: ignore[arg-type]
        if found and "changed" in found[0]:
            counted.append(found[0]["changed"])
        return found

    monkeypatch.setattr(type(store.database), "rows", rows)
    return counted


def many(store: Store) -> None:
    """Certificates that have failed, and wait."""
    store.database.write(
        "insert into knit_certs (id, domains, provider, valkey_key, cert_path, key_path, names, names_key, last_error) "
        "select n, 'h' || n, 'exec', n, '/c' || n, '/k' || n, array['h' || n], 'h' || n, "
        "'lost: its renewal is held back until 2027' from generate_series(1, %(many)s) n",
        {"many": len(MANY)},
    )
    store.database.write(
        "insert into knit_schedule (cert_id, check_at, failures, retry_at, retry_directory) "
        "select id, now() + interval '1 day', 2, now() + interval '1 day', %(directory)s from knit_certs",
        {"directory": DIRECTORY},
    )
    store.database.write(
        "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, "
        "retry_at) select id, 1, 'x', 'finalizing', 'never issued', names, 'exec', 'acme', %(directory)s, 'ec256', "
        "now() + interval '1 day' from knit_certs",
        {"directory": DIRECTORY},
    )


def count(store: Store, what: str) -> int:
    (row,) = store.database.rows(f"select count(*) as rows from {what}")
    return int(row["rows"])


def test_a_word_that_lets_all_go_is_written_portion_by_portion_and_goes_on_where_it_was_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(store)
    agendas = Agendas(store.database)
    with monkeypatch.context() as patched:
        dying(store, patched, after=2)
        with pytest.raises(Interrupted):
            agendas.confirm_mass()
    assert count(store, "knit_marks where name = 'mass renewal confirmed'") == 1
    assert count(store, "knit_schedule where check_at > now()") == 1
    with monkeypatch.context() as patched:
        changed = dying(store, patched, after=None)
        assert agendas.confirm_mass() == len(MANY)
    assert changed == [PORTION, PORTION, 1, 0]
    assert count(store, "knit_schedule where check_at > now()") == 0


@pytest.mark.parametrize("key", [None, "another key"])
def test_an_account_is_forgotten_portion_by_portion_and_goes_on_where_it_was_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    many(store)
    accounts = Accounts(store.database, Seal())
    accounts.save(
        Account(
            directory=DIRECTORY,
            issuer="acme",
            email="",
            private_key="a key",
            uri="https://ca.example/account/1",
            registration="",
        )
    )
    known = accounts.kept(DIRECTORY, "acme")
    assert known is not None
    statements = len(MANY) // PORTION + 2
    for after in range(2 * statements):
        with monkeypatch.context() as patched:
            changed = dying(store, patched, after=after)
            with suppress(Interrupted):
                accounts.forget(known, key)
            assert max(changed, default=0) <= PORTION
        kept = accounts.kept(DIRECTORY, "acme")
        assert kept is not None
        is_forgotten = kept.uri is None
        if key is None:
            assert is_forgotten
        elif is_forgotten:
            assert count(store, "knit_attempts where ended_at is null") == 0
        else:
            assert count(store, "knit_schedule where failures > 0") == len(MANY), "nobody tries with the old account"
    accounts.forget(known, key)
    assert count(store, "knit_schedule where failures > 0") == 0
    assert count(store, "knit_attempts where ended_at is null and retry_at is not null") == 0
    assert count(store, "knit_attempts where ended_at is null") == (len(MANY) if key is None else 0)
