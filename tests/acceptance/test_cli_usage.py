"""The command itself: help, versions, unknown words, completion. No server is needed for any of it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from knit import __version__
from tests.acceptance.knit import PROGRAM, environment, knit

FLAGS = ("provider", "valkey-key", "cert-path", "key-path")
COMMANDS = (
    "add",
    "set",
    "remove",
    "list",
    "enable",
    "disable",
    "renew",
    "watch",
    "issuers",
    "account",
    "providers",
    "version",
    "help",
    "completion",
)


def test_no_arguments_is_usage_on_stderr_and_exit_2() -> None:
    done = knit()
    assert (done.code, done.out) == (2, "")
    assert "Usage: knit COMMAND" in done.err


@pytest.mark.parametrize("word", ["help", "-h", "--help", "-help"])
def test_help_is_usage_on_stdout_and_exit_0(word: str) -> None:
    done = knit(word)
    assert (done.code, done.err) == (0, "")
    assert all(f"  {command} " in done.out for command in COMMANDS)


@pytest.mark.parametrize("word", ["version", "--version", "-v", "-version"])
def test_version_prints_the_version(word: str) -> None:
    done = knit(word)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"knit {__version__} ")


def test_version_as_json() -> None:
    assert knit("version", "--json").records["version"] == __version__


@pytest.mark.parametrize("word", ["frobnicate", "--frobnicate", "-x"])
def test_an_unknown_command_is_usage_on_stderr_and_exit_2(word: str) -> None:
    done = knit(word)
    assert (done.code, done.out) == (2, "")
    assert word in done.err.splitlines()[0]
    assert "Usage: knit COMMAND" in done.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "-help"])
def test_every_command_has_help_and_needs_no_setting_for_it(command: str, flag: str) -> None:
    done = knit(command, flag)
    assert (done.code, done.err) == (0, "")
    assert f"Usage: knit {command}" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_usage_on_stderr_and_exit_2(command: str) -> None:
    done = knit(command, "-nonsense=1")
    assert (done.code, done.out) == (2, "")
    assert "nonsense" in done.err.splitlines()[0]
    assert f"Usage: knit {command}" in done.err


def test_help_on_one_command() -> None:
    assert knit("help", "add").out == knit("add", "-h").out
    assert knit("help", "frobnicate").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add"], "missing --domains, --provider, --valkey-key, --cert-path, --key-path"),
        (
            ["add", "--domains", " ", "--provider", "x", "--valkey-key", "k"],
            "missing --domains, --cert-path, --key-path",
        ),
        (["add", "--domains"], "requires an argument"),
        (["remove"], "exactly one of --id and --domains"),
        (["remove", "--id", "0"], "exactly one of --id and --domains"),
        (["remove", "--id", "1", "--domains", "a.example"], "exactly one of --id and --domains"),
        (["disable", "--id", "one"], "'one' is not a valid integer"),
        (["enable", "--id", "9223372036854775808"], "not in the range"),
        (["renew", "example.org"], "for one certificate: --domains example.org"),
        (["renew", "-once", "word"], "for one certificate: --domains word"),
        (["renew", "--force"], "--force goes only with --id or --domains"),
        (["renew", "--id", "1", "--again"], "--again goes only with --force"),
        (["lst"], "did you mean list?"),
        (["issuer"], "did you mean issuers?"),
        (["Enable"], "did you mean enable?"),
        (["ls"], "did you mean list?"),
        (["certonly"], "did you mean renew?"),
        (["help", "shwo"], "no such command 'shwo'; did you mean show?"),
        (["help", "dns", "chek"], "no such command 'chek'; did you mean check?"),
        (["help", "add", "more"], "knit add has no commands of its own"),
        (["account"], "missing command: show"),
        (["account", "forgt"], "no such command 'forgt'; did you mean forget?"),
        (["issuers", "--jsn"], "no such option '--jsn'; did you mean --json?"),
        (["renew", "--forse"], "no such option '--forse'; did you mean --force?"),
        (["add", "--key", "x"], "did you mean --key-path or --key-type?"),
        (["renew", "--wait"], "--wait goes only with --once, --id or --domains"),
        (["renew", "--id", "1", "--once"], "--once goes only without --id and --domains"),
        (["renew", "--once=perhaps"], "must be true or false"),
        (["add", "--domains", "a,", "b"], "unexpected extra argument (b)"),
        (["dns"], "missing command"),
        (["dns", "check"], "missing argument 'NAME'"),
        (["dns", "look"], "no such command 'look'"),
        (["completion"], "shell"),
        (["completion", "csh"], "csh"),
    ],
)
def test_wrong_use_of_a_command_is_said_first_and_exits_2(arguments: list[str], said: str) -> None:
    done = knit(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said.lower() in done.err.splitlines()[0].lower()


@pytest.mark.parametrize(
    "arguments",
    [["new"], ["init"], ["start"], ["stop"], ["frob"], ["list", "--all"], ["add", "--once"], ["add", "--email", "x"]],
)
def test_what_only_looks_alike_is_not_suggested(arguments: list[str]) -> None:
    done = knit(*arguments)
    assert done.code == 2
    assert "did you mean" not in done.err.splitlines()[0].lower()


@pytest.mark.parametrize("path", [["dns", "check"], ["issuers", "accept"], ["account", "forget"], ["set"]])
def test_help_reaches_every_command(path: list[str]) -> None:
    asked = knit("help", *path)
    assert (asked.code, asked.err) == (0, "")
    assert asked.out == knit(*path, "-h").out
    assert f"Usage: knit {' '.join(path)} " in asked.out


@pytest.mark.parametrize("path", [[], ["account"], ["dns"], ["issuers"]])
def test_no_line_of_help_is_cut_off(path: list[str]) -> None:
    assert "..." not in knit(*path, "-h").out.replace("[ARGS]...", "")


@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete "), ("zsh", "#compdef knit"), ("fish", "complete ")])
def test_completion_prints_a_script(shell: str, sign: str) -> None:
    done = knit("completion", shell)
    assert done.code == 0
    assert sign in done.out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("knit re", ["remove", "renew", "revoke"]),
        ("knit add --v", ["--valkey-key"]),
        ("knit completion f", ["fish"]),
        ("knit help dis", ["disable"]),
        ("knit issuers a", ["accept"]),
        ("knit issuers accept a", ["acme"]),
        ("knit providers dese", ["desec"]),
        ("knit dns check --provider dese", ["desec"]),
        ("knit add --issuer a", ["acme"]),
    ],
)
def test_completion_completes_commands_flags_and_words(words: str, offered: list[str]) -> None:
    last = str(len(words.split()) - 1)
    done = knit(_KNIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=last)
    assert done.out.split() == [f"plain,{word}" for word in offered]


def test_output_that_nobody_reads_any_more_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([PROGRAM, "--help"], env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("words", [["--help"], ["version"], ["version", "--json"], ["help", "add"], ["providers"]])
def test_a_full_disk_behind_the_output_is_one_line_and_no_bug(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [PROGRAM, *words], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "knit: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", ">&- 2>&- <&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("words", ["version", "frobnicate", "list", "add --nonsense"])
def test_an_output_that_the_caller_has_closed_is_no_bug(words: str, closed: str) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f"exec {PROGRAM} {words} {closed}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in {0, 1, 2}
    assert "bug" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_text_that_the_locale_cannot_write_is_escaped_and_no_bug() -> None:
    ended = subprocess.run(
        [PROGRAM, "add", "--domains", b"\xff\xc3\xbc", *(f"--{flag}=\u00fc" for flag in FLAGS)],
        env=environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", KNIT_DB_URL="postgres://127.0.0.1:1/d"),
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, b"bug" in ended.stderr) in {(1, False), (2, False)}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("knit add --key-type rsa", ["rsa2048", "rsa3072", "rsa4096"]),
        ("knit set --provider rfc", ["rfc2136"]),
        ("knit show shop", []),
    ],
)
def test_completion_knows_values_and_is_silent_about_what_it_cannot_know(words: str, offered: list[str]) -> None:
    last = str(len(words.split()) - 1)
    away = {"KNIT_DB_URL": "postgres://knit@127.0.0.1:9/knit"}
    done = knit(_KNIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=last, **away)
    assert done.err == ""
    assert [line.partition(",")[2] for line in done.out.split()] == offered


def test_completion_waits_for_no_silent_database() -> None:
    waited: list[float] = []

    def hold(silent: socket.socket) -> None:
        connection, _ = silent.accept()
        began = time.monotonic()
        with connection, suppress(OSError):
            while connection.recv(1024):
                pass
        waited.append(time.monotonic() - began)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        holding = threading.Thread(target=hold, args=(silent,), daemon=True)
        holding.start()
        done = knit(
            _KNIT_COMPLETE="bash_complete",
            COMP_WORDS="knit renew --id 1",
            COMP_CWORD="3",
            KNIT_DB_URL=f"postgres://knit@127.0.0.1:{port}/knit",
        )
        holding.join(10)
    assert (done.out.strip(), done.err) == ("", "")
    assert len(waited) == 1
    assert waited[0] < 4.5
