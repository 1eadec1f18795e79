"""What a CA of our own has issued and revoked, in PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from knit.core.ca_signing import CertTemplate
from knit.core.model.certificate import CertId
from knit.errors import Refused
from knit.store.ca_register.ca_register import CaRegister
from tests.integration.store.conftest import Store

CA, OTHER = "ca:ab", "ca:cd"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ONE = CertId(1)


def plan(serial: int, ends: timedelta = DAY) -> CertTemplate:
    return CertTemplate(serial=serial, names=("b.test", "a.test"), not_before=NOW - DAY, not_after=NOW + ends)


def test_the_first_record_of_a_serial_number_stays(store: Store) -> None:
    book, first = CaRegister(store.database), plan(2**127 + 1)
    assert book.record(CA, ONE, first) == first
    later = replace(first, not_after=NOW + 9 * DAY)
    assert book.record(CA, ONE, later) == first
    assert book.record(OTHER, None, later) == later, "another CA has numbers of its own"
    row = store.database.row("select * from knit_ca_issued where directory = %(ca)s", {"ca": CA})
    assert row is not None
    assert (row["serial"], row["cert_id"], row["names_key"]) == (f"{2**127 + 1:x}", 1, "a.test,b.test")
    assert (row["not_before"], row["not_after"], row["revoked_at"]) == (first.not_before, first.not_after, None)


def test_what_is_revoked_stays_so_since_then_and_a_compromised_key_outweighs_other_reasons(store: Store) -> None:
    book = CaRegister(store.database)
    book.record(CA, ONE, plan(7))
    since = book.revoke(CA, 7, "superseded")
    assert [(one.serial, one.at, one.reason) for one in book.next_crl(CA).revoked] == [(7, since, "superseded")]
    for reason, then in (
        ("unspecified", "superseded"),
        ("keyCompromise", "keyCompromise"),
        ("superseded", "keyCompromise"),
    ):
        assert book.revoke(CA, 7, reason) == since
        assert [one.reason for one in book.next_crl(CA).revoked] == [then]
    book.record(CA, ONE, plan(7))
    assert len(book.next_crl(CA).revoked) == 1, "signed again, it is revoked all the same"


@pytest.mark.parametrize(("directory", "serial"), [(CA, 8), (OTHER, 7)])
def test_nothing_is_revoked_that_was_not_issued(store: Store, directory: str, serial: int) -> None:
    book = CaRegister(store.database)
    book.record(CA, ONE, plan(7))
    with pytest.raises(Refused, match=f"no certificate with serial number {serial} was issued by {directory}"):
        book.revoke(directory, serial, "superseded")


def test_the_number_of_a_list_only_grows_in_an_older_database_too(store: Store) -> None:
    book = CaRegister(store.database)
    numbers = [book.next_crl(CA).number for _ in range(3)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= int(NOW.timestamp())
    store.database.write("update knit_ca_crls set number = 5, made_at = now() - interval '1 day'")
    time.sleep(1)
    again = book.next_crl(CA)
    assert again.number > numbers[0]
    assert again.number >= int(again.at.timestamp())


def test_a_certificate_stays_on_the_list_until_one_has_had_it_after_its_end(store: Store) -> None:
    book = CaRegister(store.database)
    book.record(CA, ONE, plan(7))
    book.revoke(CA, 7, "superseded")
    assert len(book.next_crl(CA).revoked) == 1
    store.database.write("update knit_ca_issued set not_after = clock_timestamp()")
    assert len(book.next_crl(CA).revoked) == 1
    assert book.next_crl(CA).revoked == ()


def test_what_has_ended_goes_once_no_list_needs_it_whether_or_not_its_certificate_is_on_the_list(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knit.store.passes.passes.PORTION", 2)
    kept = store.add()
    ended = [(number, owner, -8 * DAY, False) for number, owner in enumerate((kept.id, 999, None, 999, 999), start=1)]
    others = [(6, 999, -6 * DAY, False), (7, 999, -8 * DAY, True), (8, 999, -367 * DAY, True), (9, kept.id, DAY, False)]
    for serial, owner, ends, revoked in (*ended, *others):
        store.database.write(
            "insert into knit_ca_issued (directory, serial, cert_id, names_key, not_before, not_after, revoked_at) "
            "values (%(ca)s, %(serial)s, %(owner)s, 'x', %(ends)s, %(ends)s, case when %(revoked)s then now() end)",
            {"ca": CA, "serial": str(serial), "owner": owner, "ends": NOW + ends, "revoked": revoked},
        )
    store.passes.tidy()
    assert {row["serial"] for row in store.database.rows("select serial from knit_ca_issued")} == {"6", "7", "9"}
