"""How a node file is explained."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from knit.cli.config import config_command
from knit.cli.node_file import explained
from knit.core.node_records import of_node
from knit.settings.environment import Environment
from knit.settings.node import node

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
FILE = """
name = "web1"
[[take]]
keys = ["certs:shop.*", "x"]
names = ["a.example"]
place = "nginx"
[[take]]
names = ["mail.example"]
place = "mail"
[[take]]
place = "own"
[place.nginx]
preset = "nginx"
files = [
  { content = "fullchain", path = "/srv/tls/{name}.crt" },
  { content = "privkey", path = "/srv/tls/{name}.key", mode = "0640", group = "root" },
]
window = "Sun 02:00-05:00 Europe/Zurich"
[place.mail]
files = [{ content = "pkcs12", path = "/srv/mail/all.p12", owner = "root", password_file = "/srv/password" }]
reload = "true"
window = "Fri 11:00-13:00"
probe = { connect = "127.0.0.1:25", starttls = "smtp" }
create_dirs = true
on_remove = "keep"
[place.own]
"""


def said(text: str = FILE, roots: tuple[str, ...] | None = ("/srv",)) -> str:
    found = node(Environment({"KNIT_NODE": text}))
    return "\n".join(explained(found, origin="/etc/knit/node.toml", roots=roots, now=NOW))


@pytest.mark.parametrize(
    "line",
    [
        "node web1, from /etc/knit/node.toml:",
        "  take 1  keys certs:shop.* x or names a.example -> nginx",
        "  take 2  names mail.example -> mail",
        "  take 3  all others -> own",
        "  place nginx, preset nginx",
        "    fullchain  /srv/tls/{name}.crt  mode as it is, or 0644, owner and group as they are",
        "    privkey    /srv/tls/{name}.key  mode 0640, group root",
        "    check      nginx -t",
        "    reload     systemctl reload nginx",
        "    probe      127.0.0.1:443",
        "    window     Sun 02:00-05:00 Europe/Zurich: opens 2026-11-29T01:00:00Z, sooner where life is short",
        "    removed    files are kept",
        "    pkcs12   /srv/mail/all.p12  mode as it is, or 0600, owner root, password in /srv/password",
        "    folders  are made where they are missing",
        "    probe    127.0.0.1:25 smtp",
        "    window   Fri 11:00-13:00 UTC: open until 2026-11-27T13:00:00Z",
        "    removed  files are kept",
        "    files    chain and key at the paths in the value, below /srv",
        "    window   reloads at any time",
    ],
)
def test_it_says_what_goes_where_and_what_is_run(line: str) -> None:
    assert line in said().splitlines()


def test_it_says_who_takes_what_no_take_has() -> None:
    assert "other nodes" not in said()
    assert "  all others are for other nodes" in said(
        FILE.replace('[[take]]\nplace = "own"\n[', "[").partition("[place.own]")[0]
    )
    assert "    takes all certificates" in said("[place.web]")
    assert "anywhere (KNIT_WATCH_ROOTS is not set)" in said("[place.web]", roots=None)


def test_programs_get_it_as_records() -> None:
    record: dict[str, Any] = of_node(node(Environment({"KNIT_NODE": FILE})), roots=("/srv",), now=NOW)
    assert record["takes"][0] == {"keys": ("certs:shop.*", "x"), "names": ("a.example",), "place": "nginx"}
    nginx, mail, own = record["places"]
    assert nginx["files"][1] == {
        "content": "privkey",
        "path": "/srv/tls/{name}.key",
        "mode": "0640",
        "owner": None,
        "group": "root",
        "password_file": None,
    }
    assert nginx["opens"] == datetime(2026, 11, 29, 1, tzinfo=UTC)
    assert mail["opens"] < NOW < mail["closes"]
    assert (nginx["own_paths_below"], own["own_paths"], own["own_paths_below"]) == (None, True, ("/srv",))


def test_a_file_that_is_wrong_ends_with_2_and_the_sentence_that_the_watcher_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KNIT_VALKEY_URL", "redis://valkey")
    monkeypatch.setenv("HOME", "/home/n")
    monkeypatch.setenv("KNIT_NODE", FILE)
    good = CliRunner().invoke(config_command, ["check"], standalone_mode=False)
    assert good.return_value == 0, good.output
    assert "  take 3  all others -> own" in good.output
    monkeypatch.setenv("KNIT_NODE", FILE.replace('group = "root"', 'group = "no-such-group"'))
    bad = CliRunner().invoke(config_command, ["check"], standalone_mode=False)
    assert bad.return_value == 2
    assert bad.output.count("this machine knows no group called 'no-such-group'") == 2, "the file, and `knit watch`"
    record = json.loads(CliRunner().invoke(config_command, ["check", "--json"], standalone_mode=False).output)
    assert (record["node"], record["node_from"]) == (None, "KNIT_NODE")
    assert "no-such-group" in record["node_error"]


def test_without_a_node_file_nothing_is_said_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KNIT_NODE", raising=False)
    monkeypatch.setenv("KNIT_VALKEY_URL", "redis://valkey")
    monkeypatch.setenv("HOME", "/home/n")
    assert "place " not in CliRunner().invoke(config_command, ["check"], standalone_mode=False).output
