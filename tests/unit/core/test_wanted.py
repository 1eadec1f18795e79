"""One judgement of an entry of the list, and changes that touch only what is said."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.model.certificate import CertId
from knit.core.placement import spelled, target
from knit.core.wanted import (
    DEFAULTS,
    NOT_ORDERED,
    OPTIONS,
    Change,
    Edited,
    ListRules,
    Wanted,
    applied,
    as_imported,
    judged,
)
from knit.errors import Misconfigured, Refused

ENTRY = Wanted(
    names=("a.example", "b.example"),
    provider="desec",
    valkey_key="tls:a",
    cert_path="/etc/tls/a.crt",
    key_path="/etc/tls/a.key",
    key_type="rsa2048",
    profile="shortlived",
    preferred_chain="X1",
    renew_before=timedelta(days=30),
)
OTHERS: dict[str, Any] = {
    "provider": "ovh",
    "valkey_key": "tls:b",
    "cert_path": "/etc/tls/b.crt",
    "key_path": "/etc/tls/b.key",
    "key_type": "ec384",
    "profile": "classic",
    "preferred_chain": "X2",
    "renew_before": timedelta(days=5),
    "reuse_key": True,
    "allow_staging": True,
}


ALLOWED = ListRules(issuers=("acme",), reserved={"knit:index"}.__contains__)


@given(st.sets(st.sampled_from(sorted(OTHERS))))
def test_a_change_touches_what_is_said_and_nothing_else(said: set[str]) -> None:
    after = applied(Change(**{name: OTHERS[name] for name in said}), ENTRY)
    assert after == replace(ENTRY, **{name: OTHERS[name] for name in said})
    edited = Edited(id=CertId(1), before=ENTRY, after=after, was_enabled=True, enabled=True)
    assert edited.differences == {name: (getattr(ENTRY, name), OTHERS[name]) for name in said}


@pytest.mark.parametrize("name", ["issuer", "key_type", "profile", "preferred_chain"])
def test_an_empty_text_goes_back_to_the_default(name: str) -> None:
    assert getattr(applied(Change(**{name: ""}), ENTRY), name) == DEFAULTS.get(name)  # type: ignore[arg-type]
    assert applied(Change(renew_before=timedelta(0)), ENTRY).renew_before is None


@pytest.mark.parametrize("name", ["provider", "valkey_key", "cert_path", "key_path"])
def test_what_a_certificate_must_have_cannot_be_taken_away(name: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        judged(applied(Change(**{name: ""}), ENTRY), ALLOWED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (Change(add_names=("C.example",)), ("a.example", "b.example", "c.example")),
        (Change(add_names=("B.example.",)), ("a.example", "b.example")),
        (Change(remove_names=("a.example",), add_names=("c.example",)), ("b.example", "c.example")),
        (Change(names=("b.example", "A.example")), ("a.example", "b.example")),
        (Change(names=("b.example",)), ("b.example",)),
    ],
)
def test_names_are_added_at_the_end_and_taken_away_one_by_one(change: Change, names: tuple[str, ...]) -> None:
    assert applied(change, ENTRY).names == names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(remove_names=("c.example",)), "c.example is not among the names a.example, b.example"),
        (Change(remove_names=("a.example", "b.example")), "at least one"),
        (Change(add_names=("c_.example",)), "'c_.example'"),
        (Change(valkey_key="tls a"), "must not hold white space"),
    ],
)
def test_a_change_that_nobody_means_is_refused(change: Change, said: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        applied(change, ENTRY)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("names", ("exa mple.org",), "'exa mple.org'"),
        ("provider", "desec@", "provider 'desec@'"),
        ("provider", "desec@we st", "provider 'desec@we st'"),
        ("provider", "../etc", "provider '../etc'"),
        ("valkey_key", "a\nb", "must be printable"),
        ("valkey_key", "a" * 9000, "too long"),
        ("valkey_key", "knit:index", "used by knit itself"),
        ("cert_path", "tls/a.crt", "absolute path"),
        ("cert_path", "/etc/tls/../a.crt", "contains .."),
        ("cert_path", "/etc/passwd", "knit never writes"),
        ("key_path", "/etc/tls/.//a.crt", "same file, /etc/tls/a.crt"),
        ("key_path", "/home/u/.ssh/authorized_keys", "knit never writes"),
        ("issuer", "acmee", "issuer 'acmee' is not configured here (did you mean acme?)"),
        ("issuer", "acme,,acme", "separated by commas"),
        ("issuer", "Acme", "of a-z, 0-9 and hyphens"),
        ("key_type", "ed25519", "key_type 'ed25519': must be one of ec256, ec384, rsa2048, rsa3072, rsa4096"),
        ("profile", "short lived", "profile 'short lived': must be one word"),
        ("preferred_chain", "a\nb", "must be printable"),
        ("renew_before", timedelta(days=-1), "renew_before"),
        ("renew_before", timedelta(days=99999), "ten years"),
    ],
)
def test_what_cannot_stand_on_the_list_is_named_with_what_is_allowed(field: str, value: object, said: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        judged(replace(ENTRY, **{field: value}), ALLOWED)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_certificate_may_ask_for_the_issuers_of_its_installation_and_no_other() -> None:
    two = replace(ALLOWED, issuers=("first", "second"))
    for typed, kept in (("second", "second"), (" second, first,second", "second,first"), ("", "")):
        assert judged(replace(ENTRY, issuer=typed), two).issuer == kept
    with pytest.raises(Misconfigured, match="'third' is not configured here"):
        judged(replace(ENTRY, issuer="first,third"), two)
    other = replace(ENTRY, issuer="third")
    assert judged(other, two, standing=other) == other, "another process may know it"


@pytest.mark.parametrize("asked", [{"profile": "short"}, {"preferred_chain": "Root X1"}])
def test_what_none_of_its_issuers_can_have_is_refused_at_once(asked: dict[str, str]) -> None:
    entry = replace(ENTRY, **asked)  # type: ignore[arg-type]
    mixed = replace(ALLOWED, issuers=("acme", "inside", "dev"), own=frozenset({"inside", "dev"}))
    for rules, issuer in ((mixed, "inside"), (mixed, "dev,inside"), (replace(mixed, default=("inside",)), "")):
        with pytest.raises(Misconfigured, match=r"signs here and has none"):
            judged(replace(entry, issuer=issuer), rules)
    for able in ("inside,acme", "acme", ""):
        judged(replace(entry, issuer=able), mixed)
    stands = replace(entry, issuer="inside")
    assert judged(replace(stands, valkey_key="new"), mixed, standing=stands).valkey_key == "new"
    with pytest.raises(Misconfigured, match="signs here"):
        judged(stands, mixed, standing=replace(entry, issuer="acme"))


def test_files_are_stored_as_nodes_name_them() -> None:
    assert judged(replace(ENTRY, cert_path="//etc/./tls//b.crt"), ALLOWED).cert_path == "/etc/tls/b.crt"


@given(st.text("/.ab", min_size=1, max_size=12))
def test_two_spellings_of_a_path_are_one_file_here_and_on_nodes(path: str) -> None:
    with suppress(Refused):
        assert (
            target(path) == spelled(path) == "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
        )


def test_a_file_that_stands_on_the_list_stays_whatever_nodes_say_of_it() -> None:
    standing = replace(ENTRY, cert_path="tls//a.crt")
    assert judged(standing, ALLOWED, standing=standing) == standing
    with pytest.raises(Misconfigured, match="absolute path"):
        judged(standing, ALLOWED, standing=ENTRY)


def test_every_field_can_be_changed() -> None:
    assert {one.name for one in fields(Change)} == {*OPTIONS, "names", "add_names", "remove_names"}


@pytest.mark.parametrize(
    "change",
    [
        Change(names=("www.a.example", "*.a.example")),
        Change(add_names=("*.b.example", "x.b.example")),
        Change(names=("A.B.Example.", "*.b.EXAMPLE")),
    ],
)
def test_a_name_beside_the_wildcard_that_covers_it_is_refused_in_one_sentence(change: Change) -> None:
    with pytest.raises(Misconfigured, match=r"^\*\.\S+ covers \S+: leave \S+ out, for Let's Encrypt refuses"):
        judged(applied(change, ENTRY), ALLOWED)


def test_where_its_ca_has_issued_it_a_covered_name_stays() -> None:
    both = replace(ENTRY, names=("www.a.example", "*.a.example"))
    assert judged(both, ALLOWED, standing=both, issued=True).names == both.names
    with pytest.raises(Misconfigured, match="covers"):
        judged(both, ALLOWED, standing=both)


IMPORTED = replace(
    ENTRY, issuer="imported", provider="none", key_type="", profile=None, preferred_chain=None, renew_before=None
)


@pytest.mark.parametrize("text", ["imported", " imported", "imported,acme", "acme,imported"])
@pytest.mark.parametrize("standing", [None, ENTRY])
def test_nobody_but_an_import_makes_an_entry_an_imported_one(text: str, standing: Wanted | None) -> None:
    with pytest.raises(Misconfigured, match="`knit import pem` puts on the list"):
        judged(applied(Change(issuer=text), standing or ENTRY), ALLOWED, standing=standing)


@pytest.mark.parametrize(
    "change",
    [
        *(Change(**{name: OTHERS[name]}) for name in OTHERS if name in NOT_ORDERED),
        Change(add_names=("c.example",)),
        Change(issuer="imported,acme"),
    ],
)
def test_an_imported_entry_says_nothing_of_orders(change: Change) -> None:
    with pytest.raises(Misconfigured, match=r"knit import pem|knit set --issuer|stands alone"):
        judged(applied(change, IMPORTED), ALLOWED, standing=IMPORTED)


@pytest.mark.parametrize("name", ["valkey_key", "cert_path", "key_path", "renew_before"])
def test_where_an_imported_certificate_goes_and_when_its_end_is_told_may_change(name: str) -> None:
    after = judged(applied(Change(**{name: OTHERS[name]}), IMPORTED), ALLOWED, standing=IMPORTED)
    assert after == replace(IMPORTED, **{name: OTHERS[name]})


def test_an_imported_entry_goes_to_an_issuer_by_saying_which() -> None:
    after = judged(applied(Change(issuer="acme", provider="desec"), IMPORTED), ALLOWED, standing=IMPORTED)
    assert (after.issuer, after.provider) == ("acme", "desec")


def test_an_import_takes_an_entry_over_with_nothing_left_of_what_was_asked_of_cas() -> None:
    asked = replace(ENTRY, issuer="acme", reuse_key=True, allow_staging=True)
    after = judged(as_imported(asked), ALLOWED, standing=asked, imported=True)
    assert after == replace(IMPORTED, renew_before=ENTRY.renew_before)
