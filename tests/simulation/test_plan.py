"""A plan of a pass is what the pass then does, in a thousand random states of certificates, and changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from knit.app.published import published_side
from knit.core.limits import Limit
from knit.core.model.decision import Rules
from knit.core.model.issuer import Terms
from knit.core.model.verdict import Act
from knit.core.wanted import ListRules
from knit.flows.plan import Plan, Planning
from knit.flows.reconcile import Reconcile
from knit.flows.room import Room
from knit.flows.values import Values
from knit.store.accounts.issuers import IssuerMemory
from knit.store.budget.budgets import Budgets
from knit.store.database import Database
from knit.store.passes.passes import Passes
from knit.store.publications.installation import Installations
from knit.valkey.connect import connect
from knit.valkey.layout import Layout

CA, OLD = "https://ca.example/directory", "https://old.example/directory"
LIMITS = {
    "orders_per_account": {"count": 20, "per": "3h"},
    "certificates_per_domain": {"count": 5, "per": "5h"},
    "certificates_per_set": {"count": 2, "per": "2d"},
    "renewals_not_counted_by": ["orders_per_account", "certificates_per_domain"],
}
RULES = Rules(issuers=(Terms(name="acme", directory=CA, limits=LIMITS),))
TABLES = "select tablename from pg_tables where tablename ~ '^knit_' and tablename !~ 'migrations|installation'"
EVERYTHING = (
    "select c.id, c.last_error, nullif(s.check_at, '-infinity'), s.no_room, s.policy, s.retry_at, s.failures "
    "from knit_certs c left join knit_schedule s on s.cert_id = c.id order by c.id"
)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROUNDS, EACH = 48, 25


@dataclass(frozen=True, slots=True)
class World:
    """A database and a Valkey, and the flows over them."""

    connection: psycopg.Connection[Any]
    database: Database
    layout: Layout
    link: Any

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        cursor = self.connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def _parts(self) -> dict[str, Any]:
        home, passes = Installations(self.database), Passes(self.database, self.allowed)
        side = published_side(self.link, self.layout, passes, home)
        return {"store": passes, "memory": IssuerMemory(self.database), "publication": side.publication, "side": side}

    @property
    def allowed(self) -> ListRules:
        return ListRules(issuers=("acme",), reserved=self.layout.reserved)

    def room(self, at: datetime) -> Room:
        return Room(store=Budgets(self.database), clock=lambda: at)

    def plan(self, at: datetime) -> Plan:
        parts = self._parts()
        side = parts.pop("side")
        return Planning(installation=side.belonging.id, room=self.room(at), rules=RULES, **parts).plan(at)

    def passed(self, at: datetime) -> Any:
        """A pass, made at this time."""
        parts = self._parts()
        side = parts.pop("side")
        given: dict[str, Any] = {"rules": RULES, "clock": lambda: at}
        values = Values(
            store=parts["store"], home=side.belonging.home, publication=parts["publication"], tell=print, **given
        )
        flow = Reconcile(belonging=side.belonging, values=values, room=self.room(at), **parts, **given)
        return flow.run()


@pytest.fixture(scope="module")
def server(postgres: Any) -> Iterator[str]:
    url = postgres.create_database("plans")
    Database.open(url).close()
    yield url
    postgres.drop_database("plans")


@contextmanager
def world(url: str, valkey: Any) -> Iterator[World]:
    valkey.flush()
    with ExitStack() as opened:
        database = opened.enter_context(Database.open(url, connections=2))
        link = connect(valkey.url, name="plans")
        opened.callback(link.close)
        connection = opened.enter_context(psycopg.connect(url, autocommit=True, options="-c timezone=UTC"))
        made = World(connection, database, Layout(), link)
        tables = [
            name
            for (name,) in made.sql(
                "select tablename from pg_tables where tablename ~ '^knit_' and tablename !~ 'migrations|installation'"
            )
        ]
        made.sql(f"truncate {', '.join(tables)} restart identity")
        made.sql("insert into knit_marks values ('deep check', now()), ('tidying of staging', now())")
        made.sql("insert into knit_issuers (name, directory) values ('acme', %s)", CA)
        made._parts()["side"].belonging.check()
        yield made


def planted(made: World, rolled: random.Random, now: datetime) -> None:
    """So many certificates in states that they come to be in, and worse ones."""
    present = []
    for number in range(1, EACH + 1):
        domain = rolled.choice(("a", "b", "c"))
        name, key = f"h{number}.{domain}.example", f"certs:{number}"
        wanted = (name, "exec", key, f"/{number}.crt", f"/{number}.key", rolled.random() > 0.1, [name], name)
        made.sql(
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, enabled, names, names_key, "
            "requested_at) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *wanted,
            now - HOUR if rolled.random() < 0.1 else None,
        )
        issued = rolled.random() < 0.7
        life = rolled.choice((timedelta(hours=160), 45 * DAY, 90 * DAY))
        born = now - life * rolled.uniform(0.05, 0.99)
        if issued:
            made.sql(
                "insert into knit_issued (cert_id, names_key, issuer, directory, key_type, serial, not_before, "
                "not_after, issued_at, sha256, generation, valkey_key, cert_path, key_path, published_at, attempt_id) "
                "values (%s, %s, 'acme', %s, %s, '01', %s, %s, %s, 'ab', 1, %s, %s, %s, now(), 1)",
                number,
                name if rolled.random() < 0.9 else f"other.{name}",
                CA if rolled.random() < 0.85 else OLD,
                "ec256" if rolled.random() < 0.9 else "rsa2048",
                *(born, born + life, born),
                *(key, f"/{number}.crt", f"/{number}.key"),
            )
            if rolled.random() < 0.85:
                present.append(key)
        look = rolled.choice((-DAY, timedelta(0), 3 * HOUR, 2 * DAY))
        retry = rolled.choice((None, None, -HOUR, 2 * HOUR, DAY))
        if issued:
            look = min(look, born + life - now)
        made.sql(
            "insert into knit_schedule (cert_id, check_at, policy, failures, retry_at, ari_at, no_room) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            number,
            now + look if rolled.random() < 0.8 else datetime(2020, 1, 1, tzinfo=UTC),
            RULES.fingerprint if rolled.random() < 0.9 else "older",
            0 if retry is None else rolled.randint(0, 6),
            None if retry is None else now + retry,
            now + rolled.choice((-HOUR, DAY)) if issued and rolled.random() < 0.1 else None,
            "no room" if look > timedelta(0) and (not issued or rolled.random() < 0.5) else None,
        )
        if rolled.random() < 0.15:
            step = rolled.choice(("planned", "key_staged", "ordered", "finalizing", "issued"))
            made.sql(
                "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, "
                "key_type, retry_at) "
                "values (%s, 1, 'x', %s, 'never issued', %s, 'exec', 'acme', %s, 'ec256', %s)",
                *(number, step, [name], CA),
                now + rolled.choice((-HOUR, HOUR)) if rolled.random() < 0.5 else None,
            )
    made.sql("update knit_certs set seen = wanted where id > %s", 2 if rolled.random() < 0.1 else 0)
    for limit, subject in ((Limit.ORDERS, ""), (Limit.DOMAIN, "a.example"), (Limit.DOMAIN, "b.example")):
        made.sql(
            "insert into knit_budget (directory, limit_name, subject, full_at, held) values (%s, %s, %s, %s, %s)",
            *(CA, limit.value, subject, now + rolled.choice((-HOUR, HOUR, 4 * HOUR)), rolled.choice((0, 0, 1))),
        )
    if rolled.random() < 0.3:
        made.sql("delete from knit_certs where id = %s", rolled.randint(3, EACH))
    with made.link.talking():
        client = made.link.client
        for key in present:
            client.set(key, json.dumps({"sha256": "ab"}))
            client.sadd(made.layout.index, key)


def decided(made: World) -> dict[int, tuple[Any, ...]]:
    return {row[0]: tuple(row[1:]) for row in made.sql(EVERYTHING)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(4))
def test_a_plan_is_what_the_next_pass_then_does_and_changes_nothing(server: str, valkey: Any, part: int) -> None:
    acts: set[Act] = set()
    for seed in range(part * ROUNDS // 4, (part + 1) * ROUNDS // 4):
        rolled, now = random.Random(seed), datetime.now(UTC).replace(microsecond=0)
        at = now + rolled.choice((timedelta(0), timedelta(0), 5 * HOUR, 3 * DAY, 30 * DAY))
        with world(server, valkey) as made:
            planted(made, rolled, now)
            before = decided(made)
            plan = made.plan(at)
            assert decided(made) == before, f"state {seed}: a plan changes nothing"
            did = made.passed(at)
            after = decided(made)
            if plan.unread:
                assert plan.unread == [1, 2][: len(plan.unread)], "what is not read yet may take what others wait for"
            else:
                compared(plan, did, before, after, f"state {seed}")
                acts |= {one.act for one in plan.verdicts}
    assert acts >= {Act.RENEW, Act.WAIT, Act.OVER_BUDGET}


def compared(plan: Plan, did: Any, before: dict[int, Any], after: dict[int, Any], state: str) -> None:
    """Every certificate is where the plan said that it would be."""
    goes = [one.cert_id for one in plan.verdicts if one.goes]
    assert goes == [cert_id for cert_id in did.renew if cert_id not in plan.orphans], state
    assert set(plan.orphans) == set(did.renew) & set(plan.orphans), state
    for one in plan.verdicts:
        last_error, check_at, no_room, *_ = after[one.cert_id]
        if one.act is Act.OVER_BUDGET:
            assert (check_at, no_room) == (one.until, one.why), state
        elif one.act is Act.HELD_BACK:
            assert (check_at, last_error) == (one.until, one.why), state
        elif one.act is Act.WAIT:
            assert (check_at, no_room) == (one.until, None), state
        else:
            assert (check_at, no_room) == tuple(before[one.cert_id][1:3]), state
    for rest in plan.resting:
        assert after[rest.cert_id] == before[rest.cert_id], state
