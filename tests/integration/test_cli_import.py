"""knit import pem, and what the other commands say of an imported certificate, as a person and a program have them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rig.process import wait_until
from tests.acceptance.knit import Done, knit
from tests.integration.test_flows import Stage, stage
from tests.integration.test_importing import new, signed

__all__ = ["stage"]

MINUTES = 1 / 24 / 60


class Shell:
    """A person's folder and commands."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._environment = dict(stage.environment)
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"

    def knit(self, *words: str) -> Done:
        return knit(*words, **self._environment)

    def json(self, *words: str) -> Any:
        done = self.knit(*words, "--json")
        assert done.code == 0, done.err
        return done.records

    def brings(self, *names: str, days: float = 365, age: float = 0) -> tuple[str, ...]:
        """New files; gives the command that imports them."""
        found = signed(*names, days=days, age=age)
        self.chain.write_bytes(found.bundle.fullchain)
        self.key.write_bytes(found.bundle.privkey)
        return ("import", "pem", "--fullchain", str(self.chain), "--privkey", str(self.key))


@pytest.fixture
def shell(stage: Stage, tmp_path: Path) -> Shell:
    return Shell(stage, tmp_path)


def places(name: str) -> tuple[str, ...]:
    return ("--valkey-key", name, "--cert-path", f"/{name}.crt", "--key-path", f"/{name}.key")


def test_an_import_is_told_and_its_certificate_shown_by_every_command_and_ordered_by_none(shell: Shell) -> None:
    name = new()
    done = shell.knit(*shell.brings(name, f"*.{name}"), *places(name))
    assert (done.code, done.err) == (0, "")
    assert f"imported certificate 1: {name}, *.{name} ({name})" in done.out
    assert "published, valid until" in done.out
    record = shell.json("list")[0]
    assert (record["issuer"], record["directory"], record["provider"]) == ("imported", "imported", "none")
    assert record["published_at"] is not None
    assert shell.json("list", "--due") == shell.json("list", "--failing") == []
    story = shell.knit("show", name).out
    assert "ok: imported" in story
    assert "imported by a person, published at" in story
    why = shell.json("why", name)
    assert (why["state"], why["cause"]) == ("published", None)
    assert "nobody, before it expires soon" in why["who"]
    for words in (
        ("renew", "--id", "1"),
        ("renew", "--id", "1", "--force"),
        ("renew", "--domains", f"{name},*.{name}"),
    ):
        done = shell.knit(*words)
        assert done.code == 1
        assert "is imported: knit did not order it" in done.err
    assert shell.knit("renew", "--once").code == 0
    (planned,) = shell.json("plan")["certificates"]
    assert (planned["does"], planned["costs"]) == ("nothing", [])
    assert shell.json("budget")["buckets"] == []


def test_the_same_command_again_replaces_it_and_needs_no_place(shell: Shell) -> None:
    name = new()
    first = shell.json(*shell.brings(name), *places(name))
    assert (first["result"], first["id"]) == ("imported", 1)
    command = shell.brings(name, days=300)
    second = shell.json(*command)
    assert (second["result"], second["id"]) == ("imported", 1)
    assert second["not_after"] < first["not_after"]
    assert second["valkey_key"] == name
    assert shell.json(*command)["result"] == "unchanged"
    changed = shell.json(*command, "--renew-before", "60d")
    assert (changed["result"], changed["renew_before"]) == ("changed", "1440h")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "a new one needs --valkey-key, --cert-path, --key-path; --id N takes one's place"),
        (("--privkey", "/no/such"), "/no/such: cannot be read (No such file or directory)"),
        (("--fullchain", "/dev/zero"), "/dev/zero: has more than"),
        (("--cert-path", "etc/a.crt", "--valkey-key", "a", "--key-path", "/a"), "cert_path"),
        (("--renew-before", "soon"), "renew_before 'soon'"),
    ],
)
def test_what_cannot_be_imported_is_told_and_changes_nothing(shell: Shell, more: tuple[str, ...], said: str) -> None:
    done = shell.knit(*shell.brings(new()), *more)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""
    assert shell.json("list") == []


def test_a_row_is_taken_over_and_given_back_in_plain_words(shell: Shell) -> None:
    name = new()
    assert shell.knit("add", "--domains", name, "--provider", "dnsupdate", *places(name)).code == 0
    done = shell.knit(*shell.brings(name))
    assert done.code == 0
    assert "issuer: - -> imported" in done.out
    assert "knit orders nothing for it any more, as it did of the default issuer" in done.out
    assert shell.knit("set", "--id", "1", "--issuer", "imported").code == 0
    done = shell.knit("set", "--id", "1", "--provider", "dnsupdate")
    assert (done.code, "before `knit set --issuer NAME` says who" in done.err) == (2, True)
    assert shell.knit("set", "--id", "1", "--add-names", f"www.{name}").code == 2
    done = shell.knit("add", "--domains", name, "--provider", "dnsupdate", *places(name))
    assert done.code == 2
    assert shell.knit("set", "--id", "1", "--issuer", "acme", "--provider", "dnsupdate").code == 0
    done = shell.knit("add", "--domains", new(), "--provider", "none", "--issuer", "imported", *places(new()))
    assert (done.code, "`knit import pem` puts on the list" in done.err) == (2, True)


def test_disabling_it_tells_that_knit_keeps_no_copy(shell: Shell) -> None:
    name = new()
    shell.knit(*shell.brings(name), *places(name))
    assert "knit keeps no copy" in shell.knit("disable", "--id", "1").out
    assert shell.knit("renew", "--once").code == 0
    assert shell.knit("enable", "--id", "1").code == 0
    assert shell.knit("renew", "--once").code == 1
    why = shell.json("why", name)
    assert (why["state"], why["cause"]) == ("failing", "import")
    assert "its published value is lost" in why["said"]
    assert "whoever has the certificate" in why["who"]


@pytest.mark.timeout(90)
def test_one_that_expires_is_a_warning_and_one_that_has_a_failure(shell: Shell) -> None:
    name = new()
    seconds = 12
    command = shell.brings(name, days=seconds * MINUTES / 60, age=60 * MINUTES)
    assert shell.knit(*command, *places(name)).code == 0
    done = shell.knit("renew", "--once")
    assert done.code == 0
    assert done.err.count("certificate has to be imported") == 1
    assert "expires: import the next one" in shell.knit("show", name).out
    why = shell.json("why", name)
    assert (why["state"], why["cause"]) == ("expires soon", "import")
    (planned,) = shell.json("plan", "--at", "2999-01-01")["certificates"]
    assert planned["does"] == "wait for an import"
    end = datetime.fromisoformat(shell.json("show", name)["not_after"])
    wait_until(lambda: datetime.now(UTC) > end, "the end of the certificate", seconds=30)
    done = shell.knit("renew", "--once")
    assert done.code == 1
    assert "failed: 0, not as wanted: 1" in done.err
    assert "failing: it expired at" in shell.knit("show", name).out
    assert shell.knit("renew", "--once").code == 1
    done = shell.knit(*command)
    assert (done.code, "already over" in done.err) == (2, True)
    assert shell.knit(*shell.brings(name)).code == 0
    assert shell.knit("renew", "--once").code == 0


def test_it_is_revoked_elsewhere_and_a_key_in_other_hands_is_never_imported_again(shell: Shell) -> None:
    name = new()
    command = shell.brings(name)
    assert shell.knit(*command, *places(name)).code == 0
    done = shell.knit("revoke", "--id", "1", "--reason", "superseded")
    assert (done.code, "have it revoked where it was ordered" in done.err) == (1, True)
    assert shell.knit(*command).code == 0
    assert shell.knit("revoke", "--id", "1", "--reason", "keyCompromise").code == 1
    assert shell.json("show", name)["revocations"] == []
    done = shell.knit(*command)
    assert (done.code, "its key was declared compromised" in done.err) == (1, True)
    assert shell.knit("renew", "--once").code == 0
    assert shell.knit(*shell.brings(name)).code == 0
