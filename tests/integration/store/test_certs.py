"""The list of certificates: one row for one set of names, keys and paths that belong to one certificate."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knit.core.model.certificate import CertId
from knit.core.model.keys import KeyType
from knit.core.wanted import Change
from knit.errors import KnitError, Misconfigured, NoSuchCertificate
from tests.integration.store.conftest import Store, new_cert

GO_ADD = (
    "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
    "values (%(domains)s, 'desec', %(key)s, '/' || %(key)s || '.crt', '/' || %(key)s || '.key')"
)


def go_add(store: Store, domains: str, key: str) -> None:
    """What the original's `knit add` writes."""
    store.database.write(GO_ADD, {"domains": domains, "key": key})


def test_the_same_names_in_any_form_are_the_same_certificate(store: Store) -> None:
    first = store.list.add(new_cert(1, "b.example.net", "*.example.org"))
    again = store.list.add(new_cert(2, "*.EXAMPLE.org.", "B.example.net", "b.example.net"))
    assert (again.id, again.before) == (first.id, first.after)
    (row,) = store.certs.listing()
    assert (row.domains, row.valkey_key) == ("b.example.net,*.example.org", "certs/2")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_are_as_many_as_sets_of_names(store: Store, data: Any) -> None:
    store.database.write("delete from knit_certs")
    lists = data.draw(
        st.lists(st.lists(st.sampled_from(["a", "A", "b", "ü", "xn--tda", "c."]), min_size=1), max_size=6)
    )
    spelled = [
        tuple(f"{label.removesuffix('.')}.example.org{'.' * label.endswith('.')}" for label in each) for each in lists
    ]
    for number, names in enumerate(spelled):
        store.list.add(new_cert(number, *names))
    same = {"A": "a", "ü": "xn--tda", "c.": "c"}
    assert len(store.certs.listing()) == len({frozenset(same.get(label, label) for label in each) for each in lists})


def test_adding_again_enables(store: Store) -> None:
    added = store.list.add(new_cert())
    store.certs.switch(added.id, enabled=False)
    assert not store.certs.one(added.id).enabled
    store.list.add(new_cert())
    assert store.certs.one(added.id).enabled


def test_all_that_was_asked_for_is_kept(store: Store) -> None:
    wanted = replace(new_cert(), key_type="rsa2048", profile="short", preferred_chain="X1", issuer="acme")
    spec = store.spec(store.list.add(wanted).id)
    assert (spec.key_type, spec.profile, spec.preferred_chain, spec.issuer) == (KeyType.RSA2048, "short", "X1", "acme")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valkey_key": "certs/1"}, "valkey_key certs/1 belongs to certificate 1 (host1.example.org)"),
        ({"cert_path": "/etc/ssl/1.crt"}, "path /etc/ssl/1.crt belongs to certificate 1"),
        ({"key_path": "/etc/ssl/1.crt"}, "path /etc/ssl/1.crt belongs to certificate 1"),
        ({"cert_path": "/etc/ssl/1.key"}, "path /etc/ssl/1.key belongs to certificate 1"),
        ({"cert_path": "/x.crt", "key_path": "/x.crt"}, "same file, /x.crt"),
        ({"valkey_key": "knit:index"}, "used by knit itself"),
        ({"valkey_key": "a\x07b"}, "printable"),
        ({"cert_path": "ssl/x.crt"}, "absolute"),
        ({"key_path": "/etc/../x"}, "contains .."),
        ({"cert_path": "/etc/ssl/./1.crt"}, "path /etc/ssl/1.crt belongs to certificate 1"),
        ({"key_path": "//etc//ssl/.//1.crt"}, "path /etc/ssl/1.crt belongs to certificate 1"),
        ({"cert_path": "/x.crt", "key_path": "/./x.crt"}, "same file, /x.crt"),
        ({"cert_path": "/etc/passwd"}, "/etc/passwd"),
        (
            {"names": ("host1.example.org",), "valkey_key": "certs/1", "issuer": "other"},
            "issuer 'other' is not configured here",
        ),
        ({"names": ("ex_ample.org",)}, "'ex_ample.org'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(store: Store, change: dict[str, Any], words: str) -> None:
    store.list.add(new_cert(1))
    with pytest.raises(Misconfigured) as caught:
        store.list.add(replace(new_cert(2), **change))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(store.certs.listing()) == 1


def test_a_key_that_another_certificate_is_still_published_under_is_not_given_away(store: Store) -> None:
    spec = store.add(1)
    store.publish(spec)
    store.list.add(replace(new_cert(1), valkey_key="certs/moved"))
    with pytest.raises(Misconfigured, match="valkey_key certs/1 belongs to certificate 1"):
        store.list.add(replace(new_cert(2), valkey_key="certs/1"))


def test_removing_leaves_a_tombstone_and_adding_again_lifts_it(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.certs.remove(spec.id)
    assert store.certs.listing() == ()
    assert store.passes.removals().keys == {"certs/1"}
    store.list.add(new_cert())
    assert store.passes.removals().keys == frozenset()


@pytest.mark.parametrize("act", ["remove", "switch", "request_renewal", "one", "find"])
def test_acting_on_a_certificate_that_is_not_there_says_so(store: Store, act: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "remove": lambda: store.certs.remove(CertId(7)),
        "switch": lambda: store.certs.switch(CertId(7), enabled=True),
        "request_renewal": lambda: store.certs.request_renewal(CertId(7)),
        "one": lambda: store.certs.one(CertId(7)),
        "find": lambda: store.certs.find(["seven.example.org"]),
    }
    with pytest.raises(NoSuchCertificate, match="seven.example.org" if act == "find" else "7"):
        calls[act]()


def test_a_certificate_is_found_by_its_names_in_any_order_adopted_or_not(store: Store) -> None:
    go_add(store, "B.example.org, a.example.org", "k")
    (row,) = store.certs.listing()
    assert store.certs.find(["a.example.org", "b.example.org"]) == row.id
    with pytest.raises(NoSuchCertificate):
        store.certs.find(["a.example.org"])


def test_rows_of_the_original_are_adopted_with_normalised_names(store: Store) -> None:
    go_add(store, " B.example.org,a.example.org, b.example.org", "k1")
    assert store.passes.adopt() == 0
    (spec,) = store.adopted()
    assert spec.names == ("b.example.org", "a.example.org")
    assert store.candidate_ids() == [spec.id]


def test_adding_what_the_original_wrote_changes_its_row(store: Store) -> None:
    go_add(store, "b.example.org,A.example.org", "k1")
    added = store.list.add(new_cert(1, "a.example.org", "b.example.org"))
    assert added.before is not None
    assert len(store.certs.listing()) == 1


@pytest.mark.parametrize(
    ("domains", "key", "words"),
    [
        ("A.example.org", "k2", "certificate 1 (a.example.org) has the same names"),
        ("b.example.org", "k1", "valkey_key k1 belongs to certificate 1"),
        ("under_score.example.org", "k2", "under_score"),
        ("b.example.org", "knit:index", "used by knit itself"),
    ],
)
def test_a_row_that_clashes_is_left_out_and_says_with_what(store: Store, domains: str, key: str, words: str) -> None:
    go_add(store, "a.example.org", "k1")
    go_add(store, domains, key)
    assert store.passes.adopt() == 1
    assert store.passes.adopt() == 1
    good, bad = store.certs.listing()
    assert (good.adopted, good.last_error, bad.adopted) == (True, None, False)
    assert words in (bad.last_error or "")
    assert [spec.id for spec in store.adopted()] == [good.id]
    assert key in store.passes.wanted_keys()


def test_a_row_left_out_is_adopted_once_the_clash_is_gone(store: Store) -> None:
    go_add(store, "a.example.org", "k1")
    go_add(store, "A.example.org", "k2")
    store.passes.adopt()
    store.certs.remove(CertId(1))
    assert store.passes.adopt() == 0
    (row,) = store.certs.listing()
    assert (row.adopted, row.last_error) == (True, None)


@pytest.mark.parametrize(
    ("column", "spelled"),
    [("cert_path", "/k1.crt"), ("cert_path", "//k1.crt"), ("key_path", "/./k1.key"), ("cert_path", "/.//./k1.key")],
)
def test_a_file_spelled_otherwise_is_the_same_file(store: Store, column: str, spelled: str) -> None:
    go_add(store, "a.example.org", "k1")
    go_add(store, "b.example.org", "k2")
    store.database.write(f"update knit_certs set {column} = %(path)s where valkey_key = 'k2'", {"path": spelled})
    assert store.passes.adopt() == 1
    file = spelled.replace("/./", "/").replace("//", "/").replace("/./", "/").replace("//", "/")
    assert f"path {file} belongs to certificate 1" in (store.certs.one(CertId(2)).last_error or "")
    path: Any = {column: spelled}
    with pytest.raises(Misconfigured, match="belongs to certificate 1"):
        store.list.add(replace(new_cert(3), **path))


def test_a_row_with_a_path_that_no_node_would_write_is_kept_as_it_is_but_not_made(store: Store) -> None:
    go_add(store, "a.example.org", "k1")
    store.database.write("update knit_certs set cert_path = 'tls//k1.crt'")
    assert store.passes.adopt() == 0
    store.list.change(CertId(1), Change(key_type="ec384"))
    assert store.certs.one(CertId(1)).cert_path == "tls//k1.crt"
    with pytest.raises(Misconfigured, match="absolute path"):
        store.list.change(CertId(1), Change(cert_path="tls/k1.crt"))


def test_a_row_left_out_is_mended_by_changing_what_is_wrong_with_it(store: Store) -> None:
    go_add(store, "a.example.org", "k1")
    store.database.write("update knit_certs set key_type = 'ed448', profile = 'short lived'")
    assert store.passes.adopt() == 1
    with pytest.raises(Misconfigured, match="short lived"):
        store.list.change(CertId(1), Change(key_type="ec384"))
    store.list.change(CertId(1), Change(key_type="ec384", profile=""))
    assert store.passes.adopt() == 0
    assert store.certs.one(CertId(1)).last_error is None


def test_names_of_a_certificate_change_in_place(store: Store) -> None:
    spec = store.add(1, "a.example.org", "b.example.org")
    store.publish(spec)
    store.plan(spec)
    edited = store.list.change(spec.id, Change(add_names=("c.example.org",), remove_names=("B.example.org",)))
    assert set(edited.differences) == {"names"}
    store.passes.adopt()
    assert store.spec(spec.id).names == ("a.example.org", "c.example.org")
    assert store.candidate_ids() == [spec.id]


def test_names_of_another_certificate_are_not_taken_over(store: Store) -> None:
    store.add(1, "a.example.org")
    store.add(2, "a.example.org", "b.example.org")
    with pytest.raises(Misconfigured, match="has the same names"):
        store.list.change(CertId(2), Change(remove_names=("b.example.org",)))
    go_add(store, "A.example.org", "k3")
    store.passes.adopt()
    with pytest.raises(Misconfigured, match="has the same names"):
        store.list.change(CertId(2), Change(remove_names=("b.example.org",)))


def test_a_change_leaves_a_disabled_certificate_disabled(store: Store) -> None:
    spec = store.add()
    store.certs.switch(spec.id, enabled=False)
    store.list.change(spec.id, Change(profile="short"))
    assert not store.certs.one(spec.id).enabled


def test_paths_crossed_between_two_new_rows_are_noticed(store: Store) -> None:
    go_add(store, "a.example.org", "k1")
    go_add(store, "b.example.org", "k2")
    store.database.write("update knit_certs set cert_path = '/k1.key' where valkey_key = 'k2'")
    assert store.passes.adopt() == 1
    assert "path /k1.key belongs to certificate 1" in (store.certs.listing()[1].last_error or "")


@pytest.mark.parametrize(
    "edit",
    ["domains = 'x.example.org'", "key_type = 'rsa2048'", "enabled = true", "provider = 'desec@west'"],
)
def test_an_edit_by_hand_is_noticed_by_the_next_pass(store: Store, edit: str) -> None:
    spec = store.add()
    if edit.startswith("enabled"):
        store.database.write("update knit_certs set enabled = false")
        store.passes.adopt()
    store.publish(spec)
    store.plan(spec)
    assert store.candidate_ids() == []
    store.database.write(f"update knit_certs set {edit}")
    store.passes.adopt()
    assert store.candidate_ids() == [spec.id]


def test_an_adopted_row_edited_into_a_clash_leaves_the_passes_but_what_it_published_stays(store: Store) -> None:
    first, second = store.add(1), store.add(2)
    store.publish(second)
    store.database.write("update knit_certs set domains = 'HOST1.example.org' where id = 2")
    assert store.passes.adopt() == 1
    assert [spec.id for spec in store.adopted()] == [first.id]
    assert store.passes.published_keys() == {"certs/2"}
    assert store.passes.removals().keys == frozenset()


def test_a_row_switched_off_never_keeps_an_enabled_one_with_the_same_names_out(store: Store) -> None:
    row = "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, enabled)"
    store.database.write(f"{row} values ('b.example,a.example', 'exec', 'k', '/c', '/k', false)")
    store.database.write(f"{row} values ('a.example,b.example', 'exec', 'k', '/c', '/k', true)")
    assert store.passes.adopt() == 0
    assert [spec.id for spec in store.adopted()] == [2]
    assert "same names" in (store.certs.one(CertId(1)).last_error or "")


def test_a_key_type_that_knit_does_not_know_leaves_out_that_row_alone(store: Store) -> None:
    store.add(1)
    store.add(2)
    store.database.write("update knit_certs set key_type = 'ed448' where id = 1")
    assert store.passes.adopt() == 1
    assert [spec.id for spec in store.adopted()] == [2]
    assert "'ed448': must be one of" in (store.certs.one(CertId(1)).last_error or "")


def test_a_request_makes_it_due_whatever_failed_before(store: Store) -> None:
    spec = store.add()
    store.publish(spec)
    store.plan(spec)
    with store.leases.hold("cert:1") as lease:
        assert lease is not None
        attempt = store.begin(lease, spec)
        store.attempts.fail(lease, attempt, error=KnitError("x"), retry_at=None)
    assert store.candidate_ids() == []
    store.certs.request_renewal(spec.id)
    assert store.candidate_ids() == [spec.id]
    state, wanted = store.load(spec.id).state, store.spec(spec.id)
    assert state.retry_at is None
    assert wanted.requested_at is not None
    store.publish(wanted, generation=2)
    assert store.spec(spec.id).requested_at is None


def test_two_adds_of_one_key_at_once_cannot_both_succeed(store: Store) -> None:
    def add(number: int) -> bool:
        try:
            store.list.add(replace(new_cert(number), valkey_key="same"))
        except Misconfigured:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(add, range(4))) == 1


def test_listing_shows_when_it_is_looked_at_next(store: Store) -> None:
    spec = store.add()
    assert store.certs.one(spec.id).check_at is None
    store.plan(spec)
    row = store.certs.one(spec.id)
    assert row.check_at is not None
    assert row.check_at.tzinfo is not None


@pytest.mark.parametrize(("confirmed", "holds"), [("https://ca.example/a", True), ("https://ca.example/b", False)])
def test_waits_of_another_ca_are_listed_no_longer(store: Store, confirmed: str, holds: bool) -> None:
    added = store.list.add(new_cert())
    store.database.write(
        "update knit_schedule set failures = 3, retry_at = now() + interval '1 day', "
        "retry_directory = 'https://ca.example/a'"
    )
    assert store.certs.one(added.id).failures == 3
    store.database.write(
        "insert into knit_issuers (name, directory) values ('acme', %(directory)s) "
        "on conflict (name) do update set directory = excluded.directory",
        {"directory": confirmed},
    )
    row = store.certs.one(added.id)
    assert (row.failures > 0, row.retry_at is not None) == (holds, holds)
