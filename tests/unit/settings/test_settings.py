"""Each variable changes what is read, and each wrong value is refused in one line."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from knit.errors import Misconfigured
from knit.settings.central import Central, Scheduling, Worker
from knit.settings.environment import Environment
from knit.settings.node import NodeSettings
from knit.settings.openable import Acme
from knit.settings.variables import TABLE, refuse_unknown

SECRET = "s3cr3t-canary"
BASE = {"KNIT_DB_URL": "postgres://u:p@db/knit", "KNIT_VALKEY_URL": "redis://valkey"}
KEY, OTHER = (b64encode(letter * 32).decode() for letter in (b"k", b"o"))
EAB = {"KNIT_ACME_EAB_KID": "kid", "KNIT_ACME_EAB_HMAC": "aG1hYw"}


def worker(variables: dict[str, str]) -> Worker:
    return Worker.read(Environment({**BASE, **variables}), queue_required=False)


def acme(given: dict[str, str]) -> Acme:
    (one,) = worker(given).openable
    assert isinstance(one, Acme)
    return one


def scheduling(variables: dict[str, str]) -> Scheduling:
    return Scheduling.read(Environment({**BASE, **variables}), queue_required=False)


def node(variables: dict[str, str]) -> NodeSettings:
    return NodeSettings.read(Environment({"HOME": "/home/n", **BASE, **variables}))


def central(variables: dict[str, str]) -> Central:
    return Central.read(Environment({**BASE, **variables}))


TWO = """
default = ["own", "letsencrypt"]
[issuer.letsencrypt]
kind = "acme"
[issuer.own]
kind = "acme"
directory = "https://own.example/dir"
"""

Reader = Callable[[dict[str, str]], Any]

FLIPS: list[tuple[str, str, Callable[[dict[str, str]], object], object, object]] = [
    ("KNIT_DB_URL", "postgresql://h/d", lambda v: central(v).db_url, BASE["KNIT_DB_URL"], "postgresql://h/d"),
    ("KNIT_VALKEY_URL", "rediss://h:1", lambda v: worker(v).valkey_url, "redis://valkey", "rediss://h:1"),
    ("KNIT_VALKEY_URL", "unix:///run/v", lambda v: node(v).valkey_url, "redis://valkey", "unix:///run/v"),
    ("KNIT_QUEUE_URL", "amqp://q", lambda v: central(v).queue_url, None, "amqp://q"),
    ("KNIT_REPORT_URL", "rediss://r:1", lambda v: central(v).report_url, "redis://valkey", "rediss://r:1"),
    ("KNIT_REPORT_URL", "rediss://r:1", lambda v: worker(v).report_url, "redis://valkey", "rediss://r:1"),
    ("KNIT_REPORT_URL", "rediss://r:1", lambda v: node(v).report_url, None, "rediss://r:1"),
    ("KNIT_REPORT_INTERVAL", "90s", lambda v: node(v).report_interval.seconds, 600, 90),
    ("KNIT_METRICS_TEXTFILE", "/m/k.prom", lambda v: node(v).metrics_textfile, None, "/m/k.prom"),
    ("KNIT_INDEX_KEY", "tls:i", lambda v: worker(v).index_key, "knit:index", "tls:i"),
    ("KNIT_INDEX_KEY", "tls:i", lambda v: central(v).index_key, "knit:index", "tls:i"),
    ("KNIT_INDEX_KEY", "tls:i", lambda v: node(v).index_key, "knit:index", "tls:i"),
    ("KNIT_ISSUERS", TWO, lambda v: [one.name for one in worker(v).issuers], ["acme"], ["letsencrypt", "own"]),
    ("KNIT_ISSUERS", TWO, lambda v: central(v).default, ("acme",), ("own", "letsencrypt")),
    (
        "KNIT_ACME_DIRECTORY",
        "https://ca.example/dir",
        lambda v: acme(v).terms.directory,
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://ca.example/dir",
    ),
    ("KNIT_ACME_EMAIL", "a@b.example", lambda v: acme(v).email, None, "a@b.example"),
    ("KNIT_ACME_CA_FILE", __file__, lambda v: acme(v).ca_files, (), (__file__,)),
    ("KNIT_ACME_DEACTIVATE", "false", lambda v: acme(v).deactivates, True, False),
    ("KNIT_ACME_HOSTS", "a.example, b:14000", lambda v: acme(v).hosts, (), ("a.example", "b:14000")),
    (
        "KNIT_ACME_EAB_KID",
        "kid",
        lambda v: acme({**v, "KNIT_ACME_EAB_HMAC": "aA"} if v else v).eab_kid,
        None,
        "kid",
    ),
    (
        "KNIT_ACME_EAB_HMAC",
        "aA",
        lambda v: acme({**v, "KNIT_ACME_EAB_KID": "k"} if v else v).eab_hmac,
        None,
        "aA",
    ),
    ("KNIT_SECRET_KEY", f"{KEY},{OTHER}", lambda v: worker(v).secret_keys, (), (b"k" * 32, b"o" * 32)),
    ("KNIT_RENEW_THRESHOLD_DAYS", "10", lambda v: worker(v).rules.policy.threshold, None, timedelta(days=10)),
    ("KNIT_RENEW_THRESHOLD_DAYS", "10", lambda v: central(v).rules.policy.threshold, None, timedelta(days=10)),
    ("KNIT_RENEW_INTERVAL", "1h30m", lambda v: scheduling(v).interval, timedelta(hours=12), timedelta(minutes=90)),
    ("KNIT_RENEW_CONCURRENCY", "4", lambda v: worker(v).concurrency, 25, 4),
    ("KNIT_DNS_RESOLVERS", "9.9.9.9, ::1", lambda v: worker(v).dns.resolvers, None, ("9.9.9.9:53", "[::1]:53")),
    ("KNIT_DNS_TIMEOUT", "2s", lambda v: worker(v).dns.timeout, 10.0, 2.0),
    ("KNIT_DNS_DISABLE_RECURSIVE_CHECK", "T", lambda v: worker(v).dns.recursive_check, True, False),
    ("KNIT_DNS_PROPAGATION_WAIT", "30", lambda v: worker(v).dns.wait, None, 30.0),
    ("KNIT_DNS_CA_FILE", __file__, lambda v: worker(v).dns.ca_file, None, __file__),
    ("KNIT_WATCH_INTERVAL", "5s", lambda v: node(v).watch_interval, timedelta(seconds=60), timedelta(seconds=5)),
    ("KNIT_WATCH_ROOTS", "/a:/b", lambda v: node(v).roots, None, ("/a", "/b")),
    ("KNIT_RELOAD_CMD", "true", lambda v: node(v).reload_cmd, None, "true"),
    ("KNIT_NODE", "[place.web]", lambda v: list(node(v).node.places), ["default"], ["web"]),
    ("KNIT_RELOAD_TIMEOUT", "1m", lambda v: node(v).reload_timeout, timedelta(seconds=30), timedelta(minutes=1)),
    ("KNIT_STATE_DIR", "/srv/k", lambda v: node(v).state_dir != "/srv/k", True, False),
    ("KNIT_LOG_LEVEL", "debug", lambda v: worker(v).log_level, "info", "debug"),
    ("KNIT_LOG_LEVEL", "warn", lambda v: node(v).log_level, "info", "warn"),
    ("LEGO_CA_CERTIFICATES", __file__, lambda v: acme(v).ca_files, (), (__file__,)),
    ("LEGO_DISABLE_CNAME_SUPPORT", "true", lambda v: worker(v).dns.follow_cname, True, False),
]

REFUSED: list[tuple[str, str, Reader, str]] = [
    ("KNIT_DB_URL", f"mysql://u:{SECRET}@h/d", central, "postgres://"),
    ("KNIT_DB_URL", f"postgres://u:{SECRET}@/d x", central, "postgres://"),
    ("KNIT_VALKEY_URL", f"http://:{SECRET}@h", worker, "redis://"),
    ("KNIT_VALKEY_URL", f"redis://:{SECRET}@h:99999", node, "redis://"),
    ("KNIT_QUEUE_URL", f"kafka://:{SECRET}@h", central, "amqp://"),
    ("KNIT_REPORT_INTERVAL", "11m", node, "up to 10m"),
    ("KNIT_REPORT_INTERVAL", "500ms", node, "whole seconds, from 1s to 10m"),
    ("KNIT_METRICS_TEXTFILE", "/m/k.txt", node, "ends in .prom"),
    ("KNIT_REPORT_URL", f"https://:{SECRET}@h", central, "which this version of knit does not have"),
    ("KNIT_ACME_DIRECTORY", "http://ca.example/dir", worker, "https://"),
    ("KNIT_ACME_CA_FILE", "/no/such/file", worker, "readable file"),
    ("KNIT_ACME_DEACTIVATE", "no", worker, "true or false"),
    ("KNIT_ACME_HOSTS", "https://a.example", worker, "host names"),
    ("KNIT_ACME_EAB_HMAC", f"{SECRET} !", lambda v: worker({**v, "KNIT_ACME_EAB_KID": "k"}), "base64url"),
    ("KNIT_SECRET_KEY", SECRET, worker, "32 bytes in base64"),
    ("KNIT_SECRET_KEY", f"{KEY},{SECRET}", worker, "32 bytes in base64"),
    ("KNIT_RENEW_THRESHOLD_DAYS", "0", worker, "from 1 to 3650"),
    ("KNIT_RENEW_THRESHOLD_DAYS", "thirty", worker, "from 1 to 3650"),
    ("KNIT_RENEW_INTERVAL", "0", scheduling, "such as 90s"),
    ("KNIT_RENEW_INTERVAL", "-5m", scheduling, "such as 90s"),
    ("KNIT_RENEW_CONCURRENCY", "0", worker, "from 1 to 400"),
    ("KNIT_DNS_RESOLVERS", "9.9.9.9:0", worker, "such as 9.9.9.9"),
    ("KNIT_DNS_CA_FILE", "/no/such/file", worker, "readable file"),
    ("KNIT_DNS_RESOLVERS", ",", worker, "such as 9.9.9.9"),
    ("KNIT_DNS_TIMEOUT", "soon", worker, "such as 90s"),
    ("KNIT_DNS_DISABLE_RECURSIVE_CHECK", "yes", worker, "true or false"),
    ("KNIT_DNS_PROPAGATION_WAIT", "-1s", worker, "such as 90s"),
    ("KNIT_WATCH_INTERVAL", "0s", node, "such as 90s"),
    ("KNIT_WATCH_ROOTS", "etc/tls", node, "absolute directories"),
    ("KNIT_WATCH_ROOTS", "/etc/../root", node, "absolute directories"),
    ("KNIT_RELOAD_TIMEOUT", "x", node, "such as 90s"),
    ("KNIT_STATE_DIR", "state", node, "absolute path"),
    ("KNIT_LOG_LEVEL", "INFO", worker, "debug or info or warn or error"),
    ("KNIT_LOG_LEVEL", "trace", node, "debug or info or warn or error"),
    ("LEGO_CA_CERTIFICATES", "/no/such/file", worker, "readable file"),
    ("LEGO_DISABLE_CNAME_SUPPORT", "maybe", worker, "true or false"),
]

ANYTHING_GOES = {
    "KNIT_ISSUERS",
    "KNIT_NODE",
    "KNIT_INDEX_KEY",
    "KNIT_ACME_EMAIL",
    "KNIT_ACME_EAB_KID",
    "KNIT_RELOAD_CMD",
}


def _plain(value: object) -> str:
    """A test's id: the same in every process, which a function's address is not."""
    return getattr(value, "__name__", str(value)[:40])


@pytest.mark.parametrize(("name", "value", "seen", "without", "with_it"), FLIPS, ids=_plain)
def test_a_variable_changes_what_is_read(
    name: str, value: str, seen: Callable[[dict[str, str]], object], without: object, with_it: object
) -> None:
    assert seen({}) == without
    assert seen({name: value}) == with_it


@pytest.mark.parametrize(("name", "value", "read", "allowed"), REFUSED, ids=_plain)
def test_a_wrong_value_is_refused_in_one_line_with_what_is_allowed(
    name: str, value: str, read: Reader, allowed: str
) -> None:
    with pytest.raises(Misconfigured) as refused:
        read({name: value})
    line = str(refused.value)
    assert line.startswith(f"{name}=")
    assert allowed in line
    assert SECRET not in line
    assert SECRET in value or value in line
    assert "\n" not in line


def test_the_tables_above_cover_every_variable() -> None:
    names = {setting.name for setting in TABLE}
    assert names == {row[0] for row in FLIPS if row[0].startswith("KNIT_")}
    assert names - ANYTHING_GOES == {row[0] for row in REFUSED if row[0].startswith("KNIT_")}


@pytest.mark.parametrize(
    ("read", "missing"),
    [(central, "KNIT_DB_URL"), (worker, "KNIT_DB_URL"), (worker, "KNIT_VALKEY_URL"), (node, "KNIT_VALKEY_URL")],
)
def test_a_required_variable_that_is_missing_or_empty_is_named(read: Reader, missing: str) -> None:
    with pytest.raises(Misconfigured, match=rf"^{missing} is not set; it must be a URL starting with"):
        read({missing: ""})


def test_the_node_reads_nothing_of_postgres() -> None:
    settings = NodeSettings.read(Environment({"HOME": "/h", "KNIT_VALKEY_URL": "redis://v", "KNIT_DB_URL": "nonsense"}))
    assert not [name for name in NodeSettings.__slots__ if "db" in name]
    assert "KNIT_DB_URL" not in settings.child_environment


@pytest.mark.parametrize("read", [central, worker, scheduling, node])
def test_an_unknown_knit_variable_is_refused_with_the_nearest_name(read: Reader) -> None:
    with pytest.raises(Misconfigured, match=r"^KNIT_VALKEY_URI: no such setting \(did you mean KNIT_VALKEY_URL\?\)$"):
        read({"KNIT_VALKEY_URI": "redis://v"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KNIT_DB_URI_FILE", "did you mean KNIT_DB_URL_FILE?"),
        ("KNIT_LOGLEVEL", "did you mean KNIT_LOG_LEVEL?"),
        ("KNIT_EMAIL", "did you mean KNIT_ACME_EMAIL?"),
        ("KNIT_INTERVAL", "did you mean KNIT_RENEW_INTERVAL or KNIT_REPORT_INTERVAL or KNIT_WATCH_INTERVAL?"),
        ("KNIT_POSTGRES_URL", "docs/configuration.md has them all"),
        ("KNIT_DEBUG", "docs/configuration.md has them all"),
        ("KNIT_X", "docs/configuration.md has them all"),
    ],
)
def test_only_a_name_that_is_near_is_suggested_for_an_unknown_one(name: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        refuse_unknown(Environment({name: "x"}))
    assert str(refused.value) == f"{name}: no such setting ({hint})"


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "db..example"])
def test_a_host_that_can_have_no_address_is_refused_before_anybody_looks_it_up(host: str) -> None:
    for name, url in (("KNIT_DB_URL", f"postgres://u:{SECRET}@{host}/d"), ("KNIT_ACME_DIRECTORY", f"https://{host}/d")):
        with pytest.raises(Misconfigured, match=name) as caught:
            worker({name: url})
        assert SECRET not in str(caught.value)


def test_foreign_variables_are_left_alone() -> None:
    assert central({"KNITTING": "1", "PATH": "/bin", "MY_KNIT_X": "y"}).db_url == BASE["KNIT_DB_URL"]


def test_a_file_gives_the_value_without_its_trailing_newline(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://u:from-file@h/d\n")
    read = Central.read(Environment({"KNIT_DB_URL_FILE": str(tmp_path / "url")}))
    assert read.db_url == "postgres://u:from-file@h/d"


def test_the_variable_itself_wins_over_its_file(tmp_path: Path) -> None:
    (tmp_path / "level").write_text("error")
    assert central({"KNIT_LOG_LEVEL": "debug", "KNIT_LOG_LEVEL_FILE": str(tmp_path / "level")}).log_level == "debug"


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(
        Misconfigured, match=r"^KNIT_DB_URL_FILE=/no/such: cannot be read \(No such file or directory\)$"
    ):
        Central.read(Environment({"KNIT_DB_URL_FILE": "/no/such"}))


def test_a_binary_file_is_named_without_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "url").write_bytes(b"\xff\xfe" + SECRET.encode())
    with pytest.raises(Misconfigured, match=r"KNIT_DB_URL_FILE=.*not UTF-8 text") as refused:
        Central.read(Environment({"KNIT_DB_URL_FILE": str(tmp_path / "url")}))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("half", list(EAB))
def test_half_an_external_account_binding_is_refused(half: str) -> None:
    with pytest.raises(Misconfigured, match="set both or neither"):
        worker({half: EAB[half]})


@pytest.mark.parametrize("bad", ["a", "abcde", "aG1hY+w=="[:5], "a b", "a===="])
def test_a_binding_whose_key_cannot_be_decoded_is_refused_without_it(bad: str) -> None:
    with pytest.raises(Misconfigured, match=r"^KNIT_ACME_EAB_HMAC=\(hidden\): must be base64url text"):
        worker({**EAB, "KNIT_ACME_EAB_HMAC": bad})


@pytest.mark.parametrize("read", [central, worker, scheduling])
def test_the_queue_must_not_be_the_certificate_valkey(read: Reader) -> None:
    with pytest.raises(Misconfigured, match="must not be the certificate Valkey"):
        read({"KNIT_QUEUE_URL": BASE["KNIT_VALKEY_URL"]})


def test_processes_that_meet_at_the_queue_refuse_to_start_without_one() -> None:
    with pytest.raises(Misconfigured, match="KNIT_QUEUE_URL is not set"):
        Worker.read(Environment(BASE), queue_required=True)
    with pytest.raises(Misconfigured, match="KNIT_QUEUE_URL is not set"):
        Scheduling.read(Environment(BASE), queue_required=True)


def test_no_secret_shows_in_a_repr() -> None:
    secrets = {
        "KNIT_DB_URL": f"postgres://u:{SECRET}@h/d",
        "KNIT_VALKEY_URL": f"redis://:{SECRET}@h",
        "KNIT_QUEUE_URL": f"redis://:{SECRET}@q",
        "KNIT_ACME_EAB_KID": "k",
        "KNIT_ACME_EAB_HMAC": f"{SECRET}A",
    }
    for read in (central, worker, scheduling, node):
        assert SECRET not in repr(read(secrets))


def test_the_state_folder_without_one_set_depends_on_the_user() -> None:
    assert node({}).state_dir in {"/var/lib/knit", "/home/n/.local/state/knit"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_variable_loses_the_newline_at_its_end_as_a_file_does(end: str) -> None:
    given = Environment({"KNIT_LOG_LEVEL": f"debug{end}", "CLOUDFLARE_DNS_API_TOKEN": f" to ken{end}", "EMPTY": end})
    assert dict(given) == {"KNIT_LOG_LEVEL": "debug", "CLOUDFLARE_DNS_API_TOKEN": " to ken"}
    assert given.child(without="KNIT_") == {"CLOUDFLARE_DNS_API_TOKEN": " to ken"}


@pytest.mark.parametrize(
    ("given", "through"),
    [
        ({"HTTPS_PROXY": "http://up:1", "https_proxy": "http://low:2"}, "up:1"),
        ({"https_proxy": "http://low:2", "HTTP_PROXY": "http://plain:3"}, "low:2"),
        ({"https_proxy": "low:2", "no_proxy": "letsencrypt.org"}, None),
        ({"HTTP_PROXY": "http://plain:3"}, None),
    ],
)
def test_the_proxy_of_the_environment_leads_to_the_ca(given: dict[str, str], through: str | None) -> None:
    found = acme(given).proxies.of("acme-v02.api.letsencrypt.org", 443)
    assert (None if found is None else str(found)) == through


def test_a_proxy_that_is_not_served_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured, match=r"^HTTPS_PROXY: only http://"):
        worker({"HTTPS_PROXY": "socks5://user:canary@host"})
