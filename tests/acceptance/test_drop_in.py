"""What the original Go knit did, done by this one, where the original ran."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rig.pebble import Pebble
from rig.postgres import Postgres
from tests.acceptance.scene import Scene

OTHERS = """
create table customers (id bigserial primary key, name text not null, seen timestamptz default now());
insert into customers (name) values ('Ada'), ('Grace');
create table certs (id int primary key, domains text);
insert into certs values (1, 'not.knits.example');
create schema billing;
create table billing.knit_certs (id int primary key, domains text);
insert into billing.knit_certs values (1, 'not.knits.either.example');
create view everyone as select name from customers;
"""


def others(url: str) -> list[object]:
    """All that other software has in this database: its columns and its rows."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "select table_schema, table_name, column_name, data_type, column_default from information_schema.columns "
            "where table_schema = 'billing' or (table_schema = 'public' and table_name not like 'knit\\_%') "
            "order by 1, 2, 3"
        ).fetchall()
        rows = connection.execute(
            "select name, seen::text from customers union all select domains, '' from certs "
            "union all select domains, '' from billing.knit_certs union all select name, '' from everyone order by 1, 2"
        ).fetchall()
    return [*columns, *rows]


def test_certificates_are_added_listed_and_removed_beside_tables_of_other_software(scene: Scene) -> None:
    with psycopg.connect(scene.servers.database) as connection:
        connection.execute(OTHERS)
    before = others(scene.servers.database)

    first = scene.add("www.knit.example", "knit.example")
    second = scene.add("api.knit.example")
    listed = scene.knit.knit("list").out.splitlines()
    columns = "ID ENABLED DOMAINS PROVIDER VALKEY_KEY CERT_PATH KEY_PATH NOT_AFTER LAST_RENEWED LAST_ERROR"
    assert " ".join(listed[0].split()) == columns
    assert [line.split()[:4] for line in listed[1:]] == [
        [str(first), "true", "www.knit.example,knit.example", "dnsupdate"],
        [str(second), "true", "api.knit.example", "dnsupdate"],
    ]

    assert scene.knit.knit("remove", "--domains", "knit.example,www.knit.example").code == 0
    assert scene.knit.knit("remove", "--id", str(second)).code == 0
    assert scene.knit.knit("remove", "--id", str(second)).code == 1
    assert scene.knit.knit("list").out == "no managed certs\n"
    assert scene.once().code == 0
    assert others(scene.servers.database) == before


def test_a_pass_issues_a_certificate_to_its_value_and_to_the_index(scene: Scene) -> None:
    scene.add("knit.example", "*.knit.example")
    done = scene.once()
    assert done.code == 0, done.err

    assert scene.index() == {"certs:knit.example"}
    value = scene.value("certs:knit.example")
    chain, key = value["fullchain"].encode(), value["privkey"].encode()
    assert list(value)[:6] == ["fullchain", "privkey", "not_after", "sha256", "cert_path", "key_path"]
    assert value["sha256"] == hashlib.sha256(len(chain).to_bytes(8, "big") + chain + key).hexdigest()
    assert value["cert_path"] == str(scene.tls / "knit.example.crt")

    leaf, *issuers = x509.load_pem_x509_certificates(chain)
    sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(sans.get_values_for_type(x509.DNSName)) == {"knit.example", "*.knit.example"}
    assert value["not_after"] == leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert load_pem_private_key(key, None).public_key() == leaf.public_key()
    (root,) = x509.load_pem_x509_certificates(scene.pebble.roots().encode())
    for signed, signer in zip([leaf, *issuers], [*issuers, root], strict=True):
        signed.verify_directly_issued_by(signer)

    assert len(scene.pebble.finalized()) == 1
    assert scene.challenges() == []
    assert scene.staged() == []
    (row,) = scene.knit.list()
    assert row["not_after"] == value["not_after"]
    assert row["last_error"] is None


def test_a_node_with_nothing_but_valkey_and_a_reload_command_installs_the_pair_and_reloads_once(scene: Scene) -> None:
    scene.insert(["www.knit.example", "api.knit.example"])
    assert scene.once().code == 0
    done = scene.watch_once()
    assert done.code == 0, done.err

    for name in ("www.knit.example", "api.knit.example"):
        value = scene.value(f"certs:{name}")
        chain, key = scene.tls / f"{name}.crt", scene.tls / f"{name}.key"
        assert (chain.read_text(), key.read_text()) == (value["fullchain"], value["privkey"])
        assert (chain.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o644, 0o600)
    assert scene.reloaded() == 1


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_with_no_change_nothing_is_ordered_published_written_or_reloaded(scene: Scene) -> None:
    scene.insert(["www.knit.example"])
    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    before = (scene.values(), scene.revision(), scene.pebble.orders(), stamps(scene.tls), scene.reloaded())

    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    assert (scene.values(), scene.revision(), scene.pebble.orders(), stamps(scene.tls), scene.reloaded()) == before


def test_a_removed_certificate_leaves_index_and_value_and_stays_on_the_node(scene: Scene) -> None:
    scene.insert(["www.knit.example", "api.knit.example"])
    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    assert scene.knit.knit("remove", "--domains", "www.knit.example").code == 0

    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    assert scene.index() == {"certs:api.knit.example"}
    assert scene.raw("certs:www.knit.example") is None
    assert (scene.tls / "www.knit.example.crt").exists()
    assert scene.reloaded() == 1


def test_a_certificate_that_fails_stops_no_other_and_shows_in_the_exit_code_and_in_its_row(scene: Scene) -> None:
    failing = scene.add("www.knit.example", "www.elsewhere.example")
    scene.insert(["api.knit.example"])
    scene.add("other.example", "*.other.example")

    done = scene.once()
    assert done.code == 1
    assert "Traceback" not in done.err
    assert scene.index() == {"certs:api.knit.example", "certs:other.example"}
    errors = {row["id"]: row["last_error"] for row in scene.knit.list() if row["last_error"]}
    assert list(errors) == [failing]
    assert "elsewhere.example" in errors[failing]
    assert scene.challenges() == []

    tries = scene.sql("select count(*) from knit_attempts")
    assert scene.once().code == 1, "it is still not as wanted"
    assert scene.sql("select count(*) from knit_attempts") == tries, "nothing is tried again before its time"


def test_values_that_are_missing_or_damaged_are_issued_again_by_the_next_whole_pass(scene: Scene) -> None:
    kinds = ("missing", "garbage", "hash", "keyless", "sound")
    keys = {kind: f"certs:{kind}.knit.example" for kind in kinds}
    scene.insert(key.removeprefix("certs:") for key in keys.values())
    assert scene.once().code == 0
    good = {kind: scene.value(key) for kind, key in keys.items()}
    with closing(scene.servers.valkey.client()) as client:
        client.delete(keys["missing"])
        client.set(keys["garbage"], "{")
        client.set(keys["hash"], json.dumps({**good["hash"], "sha256": "0" * 64}))
        client.set(keys["keyless"], json.dumps({**good["keyless"], "privkey": ""}))

    done = scene.once()
    assert done.code == 0, done.err
    after = {kind: scene.value(key) for kind, key in keys.items()}
    assert {kind for kind in kinds if after[kind]["fullchain"] != good[kind]["fullchain"]} == {*kinds} - {"sound"}
    generations = {kind: (good[kind]["knit"]["generation"], after[kind]["knit"]["generation"]) for kind in kinds}
    assert all(old < new for kind, (old, new) in generations.items() if kind != "sound")
    assert after["sound"] == good["sound"]
    assert len(scene.pebble.finalized()) == 2 * len(kinds) - 1


def test_other_paths_and_another_key_publish_the_same_pair_anew_without_an_order(scene: Scene) -> None:
    scene.insert(["www.knit.example"])
    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    before = scene.value("certs:www.knit.example")
    moved = {"valkey-key": "certs:moved", "cert-path": f"{scene.tls}/new.crt", "key-path": f"{scene.tls}/new.key"}
    options = [word for name, text in moved.items() for word in (f"--{name}", text)]
    done = scene.knit.knit("add", "--domains", "www.knit.example", "--provider", "dnsupdate", *options)
    assert done.code == 0, done.err

    assert scene.once().code == 0
    assert scene.watch_once().code == 0
    after = scene.value("certs:moved")
    assert {name: after[name] for name in ("fullchain", "privkey", "not_after", "sha256")} == {
        name: before[name] for name in ("fullchain", "privkey", "not_after", "sha256")
    }
    assert (after["cert_path"], after["key_path"]) == (moved["cert-path"], moved["key-path"])
    assert after["knit"]["generation"] > before["knit"]["generation"]
    assert scene.once().code == 0
    assert scene.index() == {"certs:moved"}
    assert scene.raw("certs:www.knit.example") is None
    assert len(scene.pebble.orders()) == 1
    assert (scene.tls / "new.crt").read_text() == before["fullchain"]


def test_an_empty_database_prunes_nothing_and_says_so(scene: Scene, postgres: Postgres) -> None:
    scene.insert(f"n{number}.knit.example" for number in range(3))
    assert scene.once().code == 0
    before = scene.values()
    assert len(before) == 3

    done = scene.once(KNIT_DB_URL=postgres.create_database("emptied"))
    postgres.drop_database("emptied")
    assert done.code == 1
    assert "Is KNIT_DB_URL the right database" in done.err
    assert scene.values() == before
    assert scene.once().code == 0
    assert scene.values() == before


def test_another_acme_directory_once_accepted_makes_every_certificate_due_and_registers_anew(
    scene: Scene, production: Pebble
) -> None:
    scene.insert(["www.knit.example", "api.knit.example"])
    assert scene.once().code == 0
    staging = scene.values()

    switched = {"KNIT_ACME_DIRECTORY": production.directory_url, "KNIT_ACME_CA_FILE": str(production.ca_file)}
    assert scene.knit.knit("issuers", "accept", "acme", env=switched).code == 0
    done = scene.once(**switched)
    assert done.code == 0, done.err
    assert len(production.finalized()) == 2
    assert all(scene.raw(key) != raw for key, raw in staging.items())
    assert all(scene.value(key)["knit"]["directory"] == production.directory_url for key in staging)
    assert len(scene.sql("select distinct directory, private_key from knit_accounts")) == 2

    assert scene.once(**switched).code == 0
    assert len(production.orders()) == 2
