"""Whatever is wrong is said in one line: exit code 1 or 2, no traceback, no secret."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator

import pytest

from rig.ports import free_port
from rig.postgres import Postgres
from rig.valkey import Valkey
from tests.acceptance.knit import Done, add, knit
from tests.fix_rig import running

SECRET = "s3cr3t-canary"
NOWHERE = "127.0.0.1:1"
DB = f"postgres://knit:{SECRET}@{NOWHERE}/knit"
VALKEY = f"redis://:{SECRET}@{NOWHERE}/0"


def check_one_line(done: Done, code: int, said: str) -> None:
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    assert SECRET not in done.err
    (line,) = done.err.splitlines()
    assert re.match(rf"knit( watch)?: .*{said}", line), line


SETTINGS = [
    ("list", {}, "KNIT_DB_URL is not set; it must be"),
    (
        "list",
        {"KNIT_DB_URL": f"mysql://u:{SECRET}@h/d"},
        r"KNIT_DB_URL=\(hidden\): must be a URL starting with postgres://",
    ),
    ("list", {"KNIT_DB_URL": f"postgres://u:{SECRET}@{NOWHERE}/d?sslmode=maybe"}, 'invalid sslmode value: "maybe"'),
    ("list", {"KNIT_DB_URL_FILE": "/no/such/file"}, "KNIT_DB_URL_FILE=/no/such/file: cannot be read"),
    ("list", {"KNIT_DB_URL": DB, "KNIT_DBURL": SECRET}, r"KNIT_DBURL: no such setting \(did you mean KNIT_DB_URL\?\)"),
    (
        "renew",
        {"KNIT_DB_URL": DB, "KNIT_VALKEY_URL": VALKEY, "KNIT_RENEW_INTERVAL": "0"},
        "KNIT_RENEW_INTERVAL='0': must",
    ),
    (
        "list",
        {"KNIT_DB_URL": f"postgres://u:{SECRET}/x@h/d"},
        r"a character of the user or password must be escaped; in a password / \? # % are written %2F %3F %23 %25\)$",
    ),
    (
        "watch --once",
        {},
        "KNIT_VALKEY_URL is not set; it must be a URL starting with redis:// or .* or unix://$",
    ),
    ("watch --once", {"KNIT_VALKEY_URL": f"redis://:{SECRET}@{NOWHERE}/live"}, "KNIT_VALKEY_URL: the URL is not valid"),
    ("watch --once", {"KNIT_VALKEY_URL": f"http://{SECRET}@h"}, r"KNIT_VALKEY_URL=\(hidden\): must be"),
    ("watch", {"KNIT_VALKEY_URL": VALKEY, "KNIT_WATCH_ROOTS": "etc"}, "KNIT_WATCH_ROOTS='etc': must be"),
    ("watch", {"KNIT_VALKEY_URL": VALKEY, "KNIT_VALKEY_URI": "x"}, "KNIT_VALKEY_URI: no such setting"),
]


@pytest.mark.parametrize(("command", "settings", "said"), SETTINGS)
def test_a_wrong_setting_stops_the_process_at_its_start(command: str, settings: dict[str, str], said: str) -> None:
    check_one_line(knit(*command.split(), **settings), 2, said)


LONG = "a" * 64
NAMES = [
    ("exa mple.org", "'exa mple.org'"),
    ("example", "at least two labels"),
    ("*.*.example.org", "wildcard"),
    ("a.*.example.org", "wildcard"),
    ("_acme.example.org", "'_acme'"),
    ("-a.example.org", "'-a'"),
    ("a..example.org", "empty label"),
    (f"{LONG}.example.org", "longer than 63"),
    (".".join(["a" * 60] * 4) + ".example.org", "longer than"),
    ("192.0.2.1", "IP address"),
    ("https://example.org", "label"),
    ("example.org\x1b[2J", "label"),
    (",", "at least one"),
]


@pytest.fixture
def settings(database_url: str) -> dict[str, str]:
    return {"KNIT_DB_URL": database_url}


@pytest.mark.parametrize(("names", "said"), NAMES)
def test_a_bad_name_is_named(names: str, said: str, settings: dict[str, str]) -> None:
    places = ["--provider=desec", "--valkey-key=k", "--cert-path=/c", "--key-path=/k"]
    check_one_line(knit("add", "--domains", names, *places, **settings), 2, said)


PLACES = [
    (["--cert-path", "etc/a.crt"], "cert_path 'etc/a.crt' is not the absolute path of a file"),
    (["--key-path", "/etc/../a.key"], r"key_path '/etc/\.\./a.key' contains \.\."),
    (["--key-path", "/etc/tls/"], "key_path '/etc/tls/' is not the absolute path of a file"),
    (["--key-path", "/etc/tls/a.example.crt"], "cert_path and key_path are the same file"),
    (["--cert-path", "/etc/a\ncrt"], "cert_path .* must be printable"),
    (["--valkey-key", "knit:index"], "valkey_key knit:index is used by knit itself"),
    (["--valkey-key", "knit:index:revision"], "valkey_key knit:index:revision is used by knit itself"),
    (["--valkey-key", "a b"], "valkey_key 'a b': must not hold white space"),
    (["--valkey-key", "a\x07b"], "valkey_key .* must be printable"),
    (["--provider", "cloudflair"], "unknown DNS provider 'cloudflair'; did you mean cloudflare"),
    (["--provider", "desec@"], "provider 'desec@'"),
    (["--issuer", "vault"], "issuer 'vault' is not configured here"),
    (["--key-type", "dsa"], "key_type 'dsa': must be one of ec256"),
    (["--renew-before", "30 days"], "renew_before '30 days': must be a positive duration"),
    (["--profile", "a b"], "profile 'a b': must be one word"),
    (["--valkey-key", "".join(random.Random(1).choices(string.ascii_letters, k=9000))], "too long"),
]


@pytest.mark.parametrize(("flags", "said"), PLACES)
def test_a_bad_path_key_or_word_is_named(flags: list[str], said: str, settings: dict[str, str]) -> None:
    check_one_line(add("a.example", *flags, **settings), 2, said)
    assert knit("list", "--json", **settings).records == []


DUPLICATES = [
    ("--valkey-key", "tls:a.example", "valkey_key tls:a.example"),
    ("--cert-path", "/etc/tls/a.example.crt", "path /etc/tls/a.example.crt"),
    ("--key-path", "/etc/tls/a.example.key", "path /etc/tls/a.example.key"),
    ("--cert-path", "/etc/tls/a.example.key", "path /etc/tls/a.example.key"),
]


@pytest.mark.parametrize(("flag", "value", "thing"), DUPLICATES)
def test_a_key_or_path_of_another_certificate_is_refused_naming_it(
    flag: str, value: str, thing: str, settings: dict[str, str]
) -> None:
    assert add("a.example", **settings).code == 0
    done = add("b.example", flag, value, **settings)
    check_one_line(done, 2, rf"{thing} belongs to certificate 1 \(a.example\)")


@pytest.fixture(scope="module")
def guarded_valkey() -> Iterator[Valkey]:
    yield from running(lambda: Valkey(password="right"))


def test_a_postgres_that_is_away_is_exit_1() -> None:
    check_one_line(knit("list", KNIT_DB_URL=DB), 1, "PostgreSQL: .*refused")


def test_a_postgres_host_that_does_not_exist_is_exit_1() -> None:
    check_one_line(
        knit("list", KNIT_DB_URL=f"postgres://u:{SECRET}@no-such-host.invalid/d"), 1, "PostgreSQL: .*no-such-host"
    )


def test_something_else_listening_where_postgres_should_be_is_exit_1(valkey_url: str) -> None:
    port = valkey_url.rpartition(":")[2].partition("/")[0]
    check_one_line(knit("list", KNIT_DB_URL=f"postgres://u:{SECRET}@127.0.0.1:{port}/d"), 1, "PostgreSQL: ")


def test_a_wrong_password_of_postgres_is_named_without_it(postgres: Postgres, database_url: str) -> None:
    database = database_url.rpartition("/")[2]
    role = f"role_{database}"
    postgres.create_role(role, "right", database=database)
    url = postgres.url_of(database, role=role, password=SECRET)
    check_one_line(knit("list", KNIT_DB_URL=url), 1, "does not accept the login in KNIT_DB_URL: .*password")


def test_a_database_that_does_not_exist_is_named(postgres: Postgres) -> None:
    check_one_line(knit("list", KNIT_DB_URL=postgres.url_of("nowhere")), 1, 'database "nowhere" does not exist')


def test_a_user_without_rights_is_told_so(postgres: Postgres, database_url: str) -> None:
    database = database_url.rpartition("/")[2]
    other = postgres.create_database(f"{database}_other")
    try:
        role = f"poor_{database}"
        postgres.create_role(role, SECRET, database=other.rpartition("/")[2])
        done = knit("list", KNIT_DB_URL=postgres.url_of(database, role=role, password=SECRET))
        check_one_line(done, 1, "permission denied .*needs rights")
    finally:
        postgres.drop_database(f"{database}_other")


@pytest.mark.parametrize("command", ["renew --once", "renew"])
def test_a_pass_without_postgres_is_exit_1(command: str, valkey_url: str) -> None:
    check_one_line(knit(*command.split(), KNIT_DB_URL=DB, KNIT_VALKEY_URL=valkey_url), 1, "PostgreSQL: ")


def failed(done: Done, said: str) -> None:
    """A pass has its log on stderr too: its lines, and no traceback or secret among them."""
    assert done.code == 1, done
    assert re.search(said, done.err), done.err
    assert "Traceback" not in done.err
    assert SECRET not in done.err


def test_a_pass_without_valkey_is_exit_1(settings: dict[str, str]) -> None:
    failed(knit("renew", "--once", KNIT_VALKEY_URL=f"redis://127.0.0.1:{free_port()}", **settings), "does not answer")


def test_a_pass_with_a_wrong_password_of_valkey_is_exit_1(settings: dict[str, str], guarded_valkey: Valkey) -> None:
    url = guarded_valkey.url_of(password=SECRET)
    failed(knit("renew", "--once", KNIT_VALKEY_URL=url, **settings), "does not accept our user, password")


def test_a_node_without_valkey_is_exit_1(tmp_path_factory: pytest.TempPathFactory) -> None:
    state = str(tmp_path_factory.mktemp("state"))
    failed(knit("watch", "--once", KNIT_VALKEY_URL=VALKEY, KNIT_STATE_DIR=state), "cannot be reached")


def test_a_node_with_a_wrong_password_is_exit_1(
    guarded_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = str(tmp_path_factory.mktemp("state"))
    done = knit("watch", "--once", KNIT_VALKEY_URL=guarded_valkey.url_of(password=SECRET), KNIT_STATE_DIR=state)
    failed(done, "does not accept our user, password")


@pytest.mark.parametrize("queue", [VALKEY, f"amqp://knit:{SECRET}@{NOWHERE}"])
def test_a_queue_that_is_away_is_exit_1_and_says_that_the_request_is_kept(queue: str, settings: dict[str, str]) -> None:
    add("a.example", **settings)
    done = knit("renew", "--id", "1", "--force", KNIT_QUEUE_URL=queue, **settings)
    check_one_line(
        done, 1, "KNIT_QUEUE_URL: .*does not answer.*; the request is recorded: the next pass renews certificate 1"
    )
    assert knit("list", "--json", **settings).records[0]["requested_at"] is not None


def test_a_queue_with_a_wrong_password_is_exit_1(settings: dict[str, str], guarded_valkey: Valkey) -> None:
    add("a.example", **settings)
    url = guarded_valkey.url_of(password=SECRET)
    check_one_line(knit("renew", "--id", "1", KNIT_QUEUE_URL=url, **settings), 1, "does not accept our user, password")


def test_a_renewal_of_what_is_not_on_the_list_is_exit_1(settings: dict[str, str]) -> None:
    check_one_line(knit("renew", "--id", "7", **settings), 1, "no certificate has the id 7")


def test_a_renewal_of_a_disabled_certificate_is_exit_1_and_says_what_to_do(settings: dict[str, str]) -> None:
    add("a.example", **settings)
    knit("disable", "--id", "1", **settings)
    check_one_line(knit("renew", "--id", "1", "--force", **settings), 1, "disabled: `knit enable --id 1` first")


def test_a_certificate_that_fails_makes_the_pass_exit_1_with_the_cause(
    settings: dict[str, str], valkey_url: str
) -> None:
    add("a.example", **settings)
    done = knit("renew", "--once", KNIT_VALKEY_URL=valkey_url, **settings)
    failed(done, "DESEC_TOKEN")
    (row,) = knit("list", "--json", **settings).records
    assert "DESEC_TOKEN" in row["last_error"]
    assert row["next_try"] is not None


def test_a_renewal_that_fails_here_is_exit_1_with_cause_and_next_try(settings: dict[str, str], valkey_url: str) -> None:
    add("a.example", **settings)
    done = knit("renew", "--id", "1", KNIT_VALKEY_URL=valkey_url, **settings)
    failed(done, r"certificate 1 \(a.example\): failed: [^;]*DESEC_TOKEN[^;]*; next try 20")
    record = knit("renew", "--id", "1", "--force", "--json", KNIT_VALKEY_URL=valkey_url, **settings).records
    assert (record["result"], record["id"]) == ("failed", 1)
    assert "DESEC_TOKEN" in record["error"]
