"""Adoption of many rows, of odd rows, and of rows with more names than an index holds."""

from __future__ import annotations

import os
import random
import string
import time
from contextlib import suppress
from pathlib import Path

import pytest

from knit.core.model.certificate import CertId
from knit.core.model.keys import KeyType
from knit.core.wanted import Change
from knit.errors import Misconfigured
from knit.store.list import adoption
from knit.store.list.adoption import Adopter
from tests.integration.store.conftest import DIRECTORY, Store, new_cert

MANY = (
    "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
    "select 'n' || i || '.example.org', 'exec', 'k' || i, '/' || i || '.crt', '/' || i || '.key' "
    "from generate_series(1, %(count)s) i"
)
ODD = "update knit_certs set {} where id = 2"


def load(store: Store, count: int) -> None:
    """A bulk load, and statistics from before its adoption."""
    store.database.write(MANY, {"count": count})
    store.database.write("analyze knit_certs")


def cpu_seconds(store: Store) -> float:
    """What this process and the server's sessions for it have used: other load on the machine does not count."""
    sessions = store.database.rows("select pid from pg_stat_activity where datname = current_database()")
    used = 0
    for row in sessions:
        with suppress(FileNotFoundError):
            used += sum(map(int, Path(f"/proc/{row['pid']}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return used / os.sysconf("SC_CLK_TCK") + time.process_time()


def noise(length: int) -> str:
    """Text that no index can compress."""
    return "".join(random.Random(length).choices(string.ascii_lowercase + string.digits, k=length))


def long_names(count: int, length: int = 237) -> tuple[str, ...]:
    tail = ".".join(noise(60 + i)[:57] for i in range(3))
    return tuple(f"{noise(1000 + i)[: length - len(tail) - 9]}.{tail}.example" for i in range(count))


@pytest.mark.parametrize("edit", ["", "valkey_key = 'k1'", "cert_path = '/1.key'", "domains = 'N1.example.org'"])
def test_a_bulk_load_is_adopted_in_portions_whatever_the_statistics_say(store: Store, edit: str) -> None:
    load(store, 20_000)
    if edit:
        store.database.write(f"update knit_certs set {edit} where id = 15000")
    began = cpu_seconds(store)
    assert store.passes.adopt() == (1 if edit else 0)
    assert cpu_seconds(store) - began < 8
    left_out = [row for row in store.certs.listing() if not row.adopted]
    assert [row.id for row in left_out] == ([15000] if edit else [])


def test_a_second_load_is_adopted_beside_the_first_with_statistics_of_an_empty_list(store: Store) -> None:
    store.database.write("analyze knit_certs")
    store.database.write(MANY, {"count": 10_000})
    store.passes.adopt()
    store.database.write("update knit_certs set provider = 'other'")
    assert store.passes.adopt() == 0
    assert store.list.add(new_cert(1)).before is None


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (f"cert_path = '/{noise(6000)}'", "cert_path"),
        (f"key_path = '/{noise(6000)}'", "key_path"),
        ("requested_at = 'infinity'", "requested_at"),
        ("requested_at = '20000-01-01'", "requested_at"),
        ("renew_before = interval '170000000 years'", "renew_before"),
        ("renew_before = interval '-1 day'", "renew_before"),
        ("key_type = 'dsa'", "dsa"),
        ("provider = E'desec\\x1b[31m'", "provider"),
        ("profile = E'a\\nb'", "profile"),
        ("domains = ''", "empty"),
        ("domains = repeat('a.example.org,', 300000)", "longer"),
        ("valkey_key = ''", "valkey_key"),
        ("domains = domains || E'\\x1e'", "control"),
    ],
)
def test_an_odd_row_is_left_out_with_its_reason_and_stops_nobody_else(store: Store, edit: str, words: str) -> None:
    load(store, 3)
    store.database.write(ODD.format(edit))
    assert store.passes.adopt() == 1
    assert store.passes.adopt() == 1
    good, odd, other = store.certs.listing()
    assert (good.adopted, odd.adopted, other.adopted) == (True, False, True)
    assert words in (odd.last_error or "")
    assert len(odd.last_error or "") < 2001
    assert store.candidate_ids() == [1, 3]
    store.list.add(new_cert(9))


@pytest.mark.parametrize("names", ["null", "'{}'", "'{null}'", "array[array['a.example'], array['b.example']]"])
def test_a_hand_cannot_take_from_a_certificate_what_every_pass_needs(store: Store, names: str) -> None:
    store.add()
    for change in (f"names = {names}", "names_key = null"):
        with pytest.raises(Misconfigured):
            store.database.write(f"update knit_certs set {change}")
    assert store.candidate_ids() == [1]


@pytest.mark.parametrize("column", ["not_after", "last_renewed"])
@pytest.mark.parametrize("value", ["infinity", "-infinity", "200000-01-01", "4000-01-01 BC"])
def test_a_time_that_no_calendar_of_ours_holds_breaks_no_list(store: Store, column: str, value: str) -> None:
    spec = store.add()
    store.database.write(f"update knit_certs set {column} = '{value}'")
    (row,) = store.certs.listing()
    shown = getattr(row, column)
    assert shown.utcoffset().total_seconds() == 0
    assert shown.year in (1, 9999)
    assert store.load(spec.id).spec == spec


def test_an_edit_to_something_odd_reaches_a_worker_before_a_pass_without_harm(store: Store) -> None:
    spec = store.add()
    store.database.write("update knit_certs set requested_at = 'infinity', renew_before = '170000000 years'")
    found = store.spec(spec.id)
    assert found.requested_at is not None
    assert found.renew_before is not None


def test_a_hundred_names_of_the_greatest_length_are_one_certificate(store: Store) -> None:
    names = long_names(100)
    added = store.list.add(new_cert(1, *names))
    again = store.list.add(new_cert(1, *reversed(names)))
    assert (again.id, again.before is None) == (added.id, False)
    assert store.spec(added.id).names == names
    assert store.certs.find(names) == added.id
    (row,) = store.certs.listing()
    assert row.domains == ",".join(names)


def test_long_sets_written_by_the_original_are_adopted_and_written_again_as_the_same_row(store: Store) -> None:
    names, others = long_names(60), long_names(61)
    for each in (names, others, names):
        store.database.write(
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
            "values (%(domains)s, 'desec', %(key)s, '/' || %(key)s || '.crt', '/' || %(key)s || '.key') "
            "on conflict (domains) do update set provider = 'again'",
            {"domains": ",".join(each), "key": f"k{len(each)}"},
        )
    assert store.passes.adopt() == 0
    first, second = store.adopted()
    assert (first.names, first.provider) == (names, "again")
    assert (second.names, second.provider) == (others, "desec")
    store.database.write("update knit_certs set domains = 'short.example.org' where id = %(id)s", {"id": first.id})
    store.passes.adopt()
    assert store.spec(first.id).names == ("short.example.org",)
    assert store.certs.one(first.id).domains == "short.example.org"


def test_two_rows_may_change_their_names_with_each_other(store: Store) -> None:
    first, second = store.add(1), store.add(2)
    for cert, domains in ((first.id, "x.y"), (second.id, first.names[0]), (first.id, second.names[0])):
        store.database.write("update knit_certs set domains = %(d)s where id = %(id)s", {"d": domains, "id": cert})
    assert store.passes.adopt() == 0
    assert (store.spec(first.id).names, store.spec(second.id).names) == (second.names, first.names)


@pytest.mark.parametrize("act", ["another", "again", "pass", "by SQL"])
def test_what_does_not_concern_a_failing_certificate_leaves_its_next_try_alone(store: Store, act: str) -> None:
    failing = store.list.add(new_cert(1)).id
    fail(store, failing)
    before = store.load(failing).state
    if act == "another":
        store.list.add(new_cert(2))
    elif act == "again":
        store.list.add(new_cert(1))
    elif act == "by SQL":
        store.database.write(MANY, {"count": 3})
    store.passes.adopt()
    after = store.load(failing).state
    assert (after.failures, after.retry_at) == (before.failures, before.retry_at)
    assert after.failures == 1


def test_a_change_of_a_failing_certificate_is_tried_at_once(store: Store) -> None:
    failing = store.list.add(new_cert(1)).id
    fail(store, failing)
    store.database.write("update knit_certs set provider = 'desec@other'")
    store.passes.adopt()
    assert store.load(failing).state.retry_at is None
    assert store.candidate_ids() == [failing]


def fail(store: Store, cert_id: CertId) -> None:
    """As a worker does."""
    with store.holding.hold(cert_id) as held:
        assert held is not None
        lease, _ = held
        attempt = store.begin(lease, store.spec(cert_id))
        assert attempt.directory == DIRECTORY
        later = lease.at.replace(year=lease.at.year + 1)
        store.attempts.fail(lease, attempt, error=Misconfigured("no token"), retry_at=later)


ROW = {"domains": "a.example.org", "provider": "exec", "valkey_key": "k", "cert_path": "/a.crt", "key_path": "/a.key"}
SECOND = {"domains": "b.example.org", "valkey_key": "l", "cert_path": "/b.crt", "key_path": "/b.key"}
COMPARED = (
    "select c.id, c.names, c.names_key, c.seen, c.last_error, s.check_at, s.moving "
    "from knit_certs c left join knit_schedule s on s.cert_id = c.id order by c.id"
)


def insert(store: Store, *rows: dict[str, str]) -> None:
    for row in rows:
        columns = {**ROW, **row}
        names, places = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
        store.database.write(f"insert into knit_certs ({names}) values ({places})", columns)


@pytest.mark.parametrize(
    "second",
    [
        {},
        {"domains": "*.b.example.org,b.example.org,0.example.org"},
        {"domains": "b.example.org,a.example.org,b.example.org"},
        {"domains": "www.b.example.org,*.b.example.org"},
        {"domains": "*.b.example.org,www.b.example.org", "not_after": "2020-01-01"},
        {"domains": "www.c.b.example.org,*.b.example.org"},
        {"domains": "a.example.org,"},
        {"domains": " B.example.org."},
        {"domains": "xn--bcher-kva.example"},
        {"domains": "b\u00fccher.example"},
        {"domains": f"{'l' * 63}.example.org"},
        {"domains": f"{'l' * 64}.example.org"},
        {"domains": ".".join(["l" * 60] * 4)},
        {"domains": "192.0.2.1"},
        {"domains": "b.example.4"},
        {"domains": "b-.example.org"},
        {"domains": "-b.example.org"},
        {"domains": "b..example.org"},
        {"domains": "*.*.example.org"},
        {"domains": "b*.example.org"},
        {"domains": "*"},
        {"domains": "localhost"},
        {"domains": "b.example.org\n"},
        {"valkey_key": "k"},
        {"valkey_key": "knit:index:x"},
        {"valkey_key": "with space"},
        {"valkey_key": "l" * 1025},
        {"cert_path": "/a.crt"},
        {"cert_path": "/./a.crt"},
        {"cert_path": "//a.key"},
        {"key_path": "/a.crt"},
        {"key_path": "/b.crt"},
        {"key_path": "/./b.crt"},
        {"key_path": ""},
        {"cert_path": "relative"},
        {"provider": "exec@account"},
        {"provider": "exec@"},
        {"provider": "no provider"},
        {"key_type": "rsa2048"},
        {"key_type": "dsa"},
        {"issuer": "other"},
        {"profile": "short"},
        {"requested_at": "2100-01-01"},
    ],
)
@pytest.mark.parametrize("portions", [1, 2], ids=["together", "one after the other"])
def test_postgresql_adopts_by_itself_exactly_what_a_look_at_each_row_adopts(
    store: Store, monkeypatch: pytest.MonkeyPatch, second: dict[str, str], portions: int
) -> None:
    outcomes = []
    for by_itself in (True, False):
        store.database.write("truncate knit_certs, knit_schedule restart identity cascade")
        if not by_itself:
            monkeypatch.setattr(Adopter, "_ordinary", lambda *_: None)
        insert(store, {})
        if portions > 1:
            assert store.passes.adopt() == 0
        insert(store, {**SECOND, **second})
        outcomes.append((store.passes.adopt(), store.database.rows(COMPARED)))
    assert outcomes[0] == outcomes[1]


def test_ordinary_rows_never_leave_postgresql(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(*_: object) -> None:
        raise AssertionError("a row was looked at")

    monkeypatch.setattr(adoption, "_entry", looked_at)
    load(store, 5_000)
    store.database.write(
        "update knit_certs set key_type = (%(types)s::text[])[1 + id %% cardinality(%(types)s::text[])]",
        {"types": [str(one) for one in KeyType]},
    )
    assert store.passes.adopt() == 0
    assert len(store.candidate_ids()) == 5_000
    store.database.write(
        "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) select "
        "'*.w' || i || '.example.org,w' || i || '.example.org', 'exec@a', 'w' || i, '/w/' || i, '/v/' || i "
        "from generate_series(1, 10) i"
    )
    assert store.passes.adopt() == 0
    assert store.spec(CertId(5_001)).names_key == "*.w1.example.org,w1.example.org"


def test_a_key_that_another_certificate_is_still_published_under_is_not_adopted(store: Store) -> None:
    published = store.publish(store.add(1))
    store.database.write("update knit_certs set valkey_key = 'elsewhere'")
    store.passes.adopt()
    insert(store, {"valkey_key": published.valkey_key})
    assert store.passes.adopt() == 1


def test_what_a_row_left_behind_goes_with_it_whoever_deletes_it(store: Store) -> None:
    load(store, 3)
    store.passes.adopt()
    store.database.write("delete from knit_certs where id < 3")
    assert [row["cert_id"] for row in store.database.rows("select cert_id from knit_schedule")] == [3]


def test_a_name_beside_its_wildcard_is_left_out_unless_its_ca_has_issued_both(store: Store) -> None:
    load(store, 3)
    for number, more in ((1, ""), (2, ", not_after = now() + interval '9 days'")):
        names = f"www.n{number}.example.org,*.n{number}.example.org"
        store.database.write(f"update knit_certs set domains = '{names}'{more} where id = {number}")
    assert store.passes.adopt() == 1
    left_out, issued, other = store.certs.listing()
    assert left_out.left_out
    assert left_out.last_error == (
        "left out: *.n1.example.org covers www.n1.example.org: leave www.n1.example.org out, "
        "for Let's Encrypt refuses an order for both"
    )
    assert issued.adopted
    assert other.adopted
    with pytest.raises(Misconfigured, match="covers"):
        store.list.change(CertId(1), Change(provider="exec"))
    store.list.change(CertId(1), Change(remove_names=("www.n1.example.org",)))
    assert store.passes.adopt() == 0


def test_a_row_that_no_pass_has_seen_is_new_and_not_failing(store: Store) -> None:
    load(store, 1)
    (row,) = store.certs.listing()
    assert (row.adopted, row.left_out, row.failing) == (False, False, False)


def test_rows_that_an_index_takes_for_one_another_are_left_out_and_stop_nobody_else(store: Store) -> None:
    load(store, 4)
    alike = "case when names_key is not null and valkey_key in ('k2', 'k3') then 1 end"
    store.database.write(f"create unique index knit_certs_alike on knit_certs (({alike}))")
    try:
        assert store.passes.adopt() == 1
        assert store.passes.adopt() == 1
    finally:
        store.database.write("drop index knit_certs_alike")
    assert [row.left_out for row in store.certs.listing()] == [False, False, True, False]
    assert store.passes.adopt() == 0
