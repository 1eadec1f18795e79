"""add, remove, list, enable, disable on a real PostgreSQL, beside tables of other software."""

from __future__ import annotations

import re
from typing import Any, cast

import psycopg
import pytest

from knit.app.waking import Hears
from knit.cli.waking import SAID
from tests.acceptance.knit import add, knit


@pytest.fixture
def settings(database_url: str) -> dict[str, str]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table certs (id int); create table users (id int); insert into users values (1)")
    return {"KNIT_DB_URL": database_url}


NOBODY = f"{SAID[Hears.NOBODY]}\n"


def test_a_certificate_is_added_listed_and_removed(settings: dict[str, str]) -> None:
    assert knit("list", **settings).out == "no managed certs\n"

    added = add("Example.org,*.example.org", **settings)
    assert (added.code, added.err) == (0, NOBODY)
    assert added.out == "added certificate 1: example.org, *.example.org (tls:Example.org)\n"

    head, row = knit("list", **settings).out.splitlines()
    assert head.split()[:4] == ["ID", "ENABLED", "DOMAINS", "PROVIDER"]
    assert row.split() == [
        "1", "true", "example.org,*.example.org", "desec", "tls:Example.org", "/etc/tls/Example.org.crt",
        "/etc/tls/Example.org.key", "-", "-", "-",
    ]  # fmt: skip

    removed = knit("remove", "--domains", "*.example.org,example.org", **settings)
    assert (removed.code, removed.err) == (0, NOBODY)
    assert knit("list", **settings).out == "no managed certs\n"
    assert knit("list", "--json", **settings).records == []


def test_adding_the_same_set_of_names_changes_the_rest_and_enables(settings: dict[str, str]) -> None:
    add("a.example,b.example", **settings)
    assert (
        knit("disable", "--id", "1", **settings).out == "disabled certificate 1: a.example, b.example (tls:a.example)\n"
    )
    assert knit("list", "--json", **settings).records[0]["enabled"] is False
    changed = add("B.example,a.example", "--key-type", "ec384", "--renew-before", "240h", "--json", **settings)
    assert changed.code == 0
    assert changed.records["result"] == "changed"
    (found,) = knit("list", "--json", **settings).records
    assert (found["id"], found["enabled"], found["domains"]) == (1, True, ["a.example", "b.example"])
    assert (found["valkey_key"], found["key_type"], found["renew_before"]) == ("tls:B.example", "ec384", "240h")


def test_every_flag_is_kept(settings: dict[str, str]) -> None:
    flags = ["-key-type=rsa3072", "-profile", "shortlived", "-preferred-chain=ISRG Root X2", "-renew-before=36h"]
    assert add("a.example", *flags, "--issuer=acme", **settings).code == 0
    (found,) = knit("list", "-json", **settings).records
    kept = (found["key_type"], found["profile"], found["preferred_chain"], found["renew_before"], found["issuer"])
    assert kept == ("rsa3072", "shortlived", "ISRG Root X2", "36h", "acme")


def test_international_names_are_stored_as_a_labels(settings: dict[str, str]) -> None:
    assert add("münchen.example", **settings).out.startswith("added certificate 1: xn--mnchen-3ya.example ")
    assert knit("remove", "--domains", "MÜNCHEN.example", **settings).code == 0


@pytest.mark.parametrize("command", ["enable", "disable", "remove"])
@pytest.mark.parametrize("selection", [("--id", "9"), ("--domains", "c.example")])
def test_no_match_is_exit_1_and_one_line(command: str, selection: tuple[str, str], settings: dict[str, str]) -> None:
    add("a.example", **settings)
    done = knit(command, *selection, **settings)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("knit: no certificate ")
    assert done.err.count("\n") == 1
    assert len(knit("list", "--json", **settings).records) == 1


def test_changes_are_told_as_records(settings: dict[str, str]) -> None:
    add("a.example", **settings)
    for command, enabled in (("disable", False), ("enable", True), ("remove", True)):
        record = knit(command, "--id", "1", "--json", **settings).records
        assert record["result"] == f"{command}d"
        assert (record["id"], record["domains"], record["enabled"]) == (1, ["a.example"], enabled)


def test_a_database_of_the_go_knit_is_listed_with_its_rows(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "create table knit_certs (id bigserial primary key, domains text not null unique, provider text not null,"
            " valkey_key text not null, cert_path text not null, key_path text not null,"
            " enabled boolean not null default true, not_after timestamptz, last_renewed timestamptz, last_error text)"
        )
        connection.execute(
            "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, not_after, last_renewed)"
            "values ('B.example, a.example', 'desec', 'k', '/c', '/k', '2030-01-02T03:04:05+02', '2026-01-01T00:00Z')"
        )
    _, row = knit("list", KNIT_DB_URL=database_url).out.splitlines()
    assert row.split() == [
        "1", "true", "B.example,", "a.example", "desec", "k", "/c", "/k", "2030-01-02T01:04:05Z",
        "2026-01-01T00:00:00Z", "-",
    ]  # fmt: skip
    assert knit("disable", "--domains", "a.example,b.example", KNIT_DB_URL=database_url).code == 0


def test_tables_of_other_software_are_untouched(settings: dict[str, str]) -> None:
    add("a.example", **settings)
    knit("remove", "--id", "1", **settings)
    with psycopg.connect(settings["KNIT_DB_URL"]) as connection:
        names = {name for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'public'")}
        assert connection.execute("select count(*) from users").fetchone() == (1,)
    assert {name for name in names if not name.startswith("knit_")} == {"certs", "users"}


def test_the_database_url_may_come_from_a_file(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("secret") / "url"
    path.write_text(settings["KNIT_DB_URL"] + "\n")
    assert knit("list", KNIT_DB_URL_FILE=str(path)).out == "no managed certs\n"


def only(settings: dict[str, str]) -> dict[str, Any]:
    """The one certificate on the list."""
    (found,) = knit("list", "--json", **settings).records
    return cast("dict[str, Any]", found)


def test_adding_again_without_options_keeps_those_that_are_not_given(settings: dict[str, str]) -> None:
    add("a.example", "--key-type", "rsa2048", "--renew-before", "720h", "--profile=classic", **settings)
    before = only(settings)
    again = add("a.example", **settings)
    assert (again.code, again.out) == (0, "unchanged certificate 1: a.example (tls:a.example)\n")
    assert only(settings) == before

    changed = add("a.example", "--renew-before", "30d", "--key-type", "ec384", **settings)
    assert changed.out.splitlines() == [
        "changed certificate 1: a.example (tls:a.example)",
        "  key_type: rsa2048 -> ec384",
    ]


def test_set_changes_what_is_named_and_nothing_else(settings: dict[str, str]) -> None:
    add("a.example", "--key-type", "rsa2048", "--profile=classic", **settings)
    before = only(settings)
    done = knit("set", "--id", "1", "--renew-before", "10d", **settings)
    assert (done.code, done.err) == (0, NOBODY)
    assert done.out.splitlines()[1:] == ["  renew_before: - -> 10d"]
    assert only(settings) == {**before, "renew_before": "240h"}

    moved = knit("set", "--domains", "a.example", "--valkey-key", "tls:new", "--profile=", "--json", **settings)
    assert moved.records["changed"] == {
        "valkey_key": {"from": "tls:a.example", "to": "tls:new"},
        "profile": {"from": "classic", "to": None},
    }
    assert only(settings) == {**before, "renew_before": "240h", "valkey_key": "tls:new", "profile": None}


def test_names_are_added_and_removed_under_the_same_key(settings: dict[str, str]) -> None:
    add("a.example", **settings)
    refused = knit(
        *("add", "--domains", "a.example,b.example", "--provider", "desec", "--valkey-key", "tls:a.example"),
        *("--cert-path", "/etc/tls/b.crt", "--key-path", "/etc/tls/b.key"),
        **settings,
    )
    assert refused.code == 2
    assert "belongs to certificate 1 (a.example); `knit set --id N` changes" in refused.err

    done = knit("set", "--id", "1", "--add-names", "*.a.example,B.example", **settings)
    assert done.out.splitlines()[1:] == ["  names: a.example -> a.example, *.a.example, b.example"]
    assert only(settings)["domains"] == ["a.example", "*.a.example", "b.example"]
    assert knit("set", "--id", "1", "--remove-names", "a.example", **settings).code == 0
    assert only(settings)["domains"] == ["*.a.example", "b.example"]


def test_one_name_of_several_says_which_certificate_has_it(settings: dict[str, str]) -> None:
    add("a.example,b.example", **settings)
    refused = knit("renew", "--domains", "b.example", **settings)
    assert refused.code == 1
    assert refused.err == (
        "knit: no certificate for b.example, and --domains is a whole set of names: "
        "certificate 1 has a.example,b.example\n"
    )


def test_an_issuer_that_was_given_first_is_told_from_none(settings: dict[str, str]) -> None:
    add("a.example", **settings)
    assert knit("set", "--id", "1", "--issuer", "acme", **settings).out.splitlines()[1:] == ["  issuer: - -> acme"]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--id", "1"], 2, "nothing to change is given"),
        (["--profile", "x"], 2, "exactly one of --id and --domains"),
        (["--id", "9", "--profile", "x"], 1, "no certificate has the id 9"),
        (["--domains", "z.example", "--profile", "x"], 1, "no certificate for z.example"),
        (["--id", "1", "--provider", "desek"], 2, "did you mean desec"),
        (["--id", "1", "--provider", "none"], 2, "provider none: the default issuer asks for proofs of names"),
        (["--id", "1", "--provider", ""], 2, "provider ''"),
        (["--id", "1", "--cert-path", "tls/./shop.crt"], 2, "absolute path"),
        (["--id", "1", "--cert-path", "/etc/tls/./b.example.crt"], 2, "belongs to certificate 2"),
        (["--id", "1", "--remove-names", "a.example"], 2, "at least one domain name"),
    ],
)
def test_a_change_that_cannot_be_is_one_line_and_changes_nothing(
    flags: list[str], code: int, said: str, settings: dict[str, str]
) -> None:
    add("a.example", **settings)
    add("b.example", **settings)
    before = knit("list", "--json", **settings).records
    done = knit("set", *flags, **settings)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[0]
    assert knit("list", "--json", **settings).records == before


def test_the_list_is_filtered_and_one_certificate_tells_its_story(settings: dict[str, str]) -> None:
    add("a.example,www.a.example", **settings)
    add("b.example", **settings)
    with psycopg.connect(settings["KNIT_DB_URL"], autocommit=True) as connection:
        connection.execute("update knit_certs set last_error = 'the CA said no' where id = 2")
        connection.execute(
            "insert into knit_attempts (cert_id, epoch, owner, step, reason, names, provider, issuer, directory,"
            " key_type, ended_at, error) values (2, 1, 'x', 'failed', 'never issued', '{b.example}', 'desec', 'acme',"
            " 'https://ca.example/dir', 'ec256', now(), 'the CA said no')"
        )

    def ids(*words: str) -> list[int]:
        return [row["id"] for row in knit("list", "--json", *words, **settings).records]

    assert (ids("a.example"), ids("--failing"), ids("--due"), ids("www.*")) == ([1], [2], [1, 2], [1])
    assert knit("list", "zzz.example", **settings).out == "no certificate matches\n"
    shown = knit("show", "b.example", **settings)
    assert shown.code == 0
    assert "never issued, from https://ca.example/dir, failed at 20" in shown.out
    record = knit("show", "2", "--json", **settings).records
    assert (record["id"], record["attempts"][0]["error"]) == (2, "the CA said no")
    assert knit("show", "c.example", **settings).code == 1
    assert knit("set", "--id", "2", "--provider", "ovh", **settings).code == 0
    shown = knit("show", "b.example", **settings)
    assert re.search(r"certificate changed by \S+ \(knit \S+@\S+\)\n      provider: desec -> ovh", shown.out), shown.out
    told = [event["kind"] for event in knit("show", "2", "--json", **settings).records["events"]]
    assert told == ["certificate changed", "renewal started", "certificate added"]
    assert "LEFT" in knit("list", "--wide", **settings).out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("knit show b.", ["b.example"]),
        ("knit list a", ["a.example"]),
        ("knit renew --id 1", ["1"]),
        ("knit remove --domains a", ["a.example,b.example"]),
        ("knit set --provider desec@", ["desec@second"]),
    ],
)
def test_completion_knows_what_is_on_the_list(settings: dict[str, str], words: str, offered: list[str]) -> None:
    assert add("a.example,b.example", "--provider", "desec@second", **settings).code == 0
    last = str(len(words.split()) - 1)
    done = knit(_KNIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=last, **settings)
    assert done.err == ""
    assert [line.partition(",")[2] for line in done.out.split()] == offered


def test_completion_makes_no_tables(database_url: str) -> None:
    done = knit(_KNIT_COMPLETE="bash_complete", COMP_WORDS="knit show a", COMP_CWORD="2", KNIT_DB_URL=database_url)
    assert (done.out.strip(), done.err) == ("", "")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regclass('knit_certs')").fetchall() == [(None,)]
