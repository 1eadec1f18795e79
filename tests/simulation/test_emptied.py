"""A certificate Valkey that was emptied: the brake holds, the plan says so, and the set is back at its pace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from knit.core.model.certificate import CertId
from knit.core.model.decision import Reason
from knit.core.model.verdict import Act
from tests.simulation.test_plan import CA, RULES, World, server, world

__all__ = ["server"]

MANY, IN_AN_HOUR = 2000, 200


def published(made: World) -> None:
    """So many certificates, issued and published; the later ones expire later."""
    made.sql(
        "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, names, names_key) "
        "select n, 'exec', 'certs:' || n, '/' || n || '.crt', '/' || n || '.key', array[n], n "
        "from (select 'h' || i || '.a.example' as n from generate_series(1, %s) i) names",
        MANY,
    )
    made.sql("update knit_certs set seen = wanted")
    made.sql(
        "insert into knit_issued (cert_id, names_key, issuer, directory, key_type, serial, not_before, not_after, "
        "issued_at, sha256, generation, valkey_key, cert_path, key_path, published_at) "
        "select id, names_key, 'acme', %s, 'ec256', '01', now() - interval '10 days', "
        "now() + interval '80 days' + id * interval '1 second', now() - interval '10 days', 'ab', 1, "
        "valkey_key, cert_path, key_path, now() from knit_certs",
        CA,
    )
    made.sql(
        "insert into knit_schedule (cert_id, check_at, policy) "
        "select id, now() + interval '40 days', %s from knit_certs",
        RULES.fingerprint,
    )


def renewed(made: World, cert_ids: Sequence[CertId]) -> None:
    """What workers do of them: an attempt that ends well, and a value that is live again."""
    made.sql(
        "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory, key_type, "
        "ended_at) select id, 1, 'x', 'published', %s, names, 'exec', 'acme', %s, 'ec256', now() "
        "from knit_certs where id = any(%s)",
        *(Reason.NOT_PUBLISHED.value, CA, list(cert_ids)),
    )
    keys = [key for (key,) in made.sql("select valkey_key from knit_certs where id = any(%s)", list(cert_ids))]
    with made.link.talking():
        made.link.client.mset(dict.fromkeys(keys, "{}"))
        made.link.client.sadd(made.layout.index, *keys)


def an_hour_passes(made: World) -> None:
    made.sql("update knit_attempts set started_at = started_at - interval '61 minutes'")
    made.sql("update knit_schedule set check_at = check_at - interval '61 minutes'")


@pytest.mark.timeout(300)
def test_an_emptied_valkey_is_filled_again_at_the_pace_of_the_brake_as_the_plan_says(
    server: str, valkey: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with world(server, valkey) as made:
        published(made)
        back: list[CertId] = []
        while len(back) < MANY:
            now = datetime.now(UTC)
            plan = made.plan(now)
            goes = [one.cert_id for one in plan.verdicts if one.goes]
            held = plan.of(Act.HELD_BACK)
            assert (len(goes), len(held)) == (IN_AN_HOUR, MANY - len(back) - IN_AN_HOUR)
            assert list(made.passed(now).renew) == goes
            assert goes == sorted(goes), "those that expire first go first"
            assert all("is held back until" in (one.why or "") for one in held)
            renewed(made, goes)
            assert made.passed(now).renew == (), "no more in this hour"
            back += goes
            an_hour_passes(made)
        assert len(back) == len(set(back)) == MANY
        assert made.passed(datetime.now(UTC)).renew == ()
        assert made.sql("select count(*) from knit_certs where last_error is not null") == [(0,)]
    assert "mass renewal held back" in caplog.text


@pytest.mark.timeout(300)
def test_a_persons_word_lets_all_of_them_go(server: str, valkey: Any) -> None:
    with world(server, valkey) as made:
        published(made)
        now = datetime.now(UTC)
        assert len(made.passed(now).renew) == IN_AN_HOUR
        made.sql("insert into knit_marks values ('mass renewal confirmed', now())")
        assert len(made.plan(now).of(Act.RENEW)) == MANY
        assert len(made.passed(now).renew) == MANY


@pytest.mark.timeout(300)
def test_a_plan_for_another_time_counts_the_hour_and_the_word_of_that_time(server: str, valkey: Any) -> None:
    with world(server, valkey) as made:
        published(made)
        now = datetime.now(UTC)
        renewed(made, made.passed(now).renew)
        assert made.plan(now).of(Act.RENEW) == []
        assert len(made.plan(now + timedelta(minutes=61)).of(Act.RENEW)) == IN_AN_HOUR
        made.sql("insert into knit_marks values ('mass renewal confirmed', now())")
        assert len(made.plan(now + timedelta(hours=23)).of(Act.RENEW)) == MANY - IN_AN_HOUR
        assert len(made.plan(now + timedelta(hours=25)).of(Act.RENEW)) == IN_AN_HOUR
