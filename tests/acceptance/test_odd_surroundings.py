"""Whatever a command finds around itself, it works or says in words what is wrong: never a bug, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knit.dns.delegation import DnsDelegation, Looking
from knit.errors import Misconfigured, Unreachable
from knit.store.database import Database
from tests.acceptance.fuzzing import BAD
from tests.acceptance.knit import PROGRAM, add, environment

CASES = 120
AS_ROOT = os.geteuid() == 0
# Not what knit itself is run from.
HIDDEN = [folder for folder in ("/dev/shm", "/tmp", "/proc", "/etc") if not str(PROGRAM).startswith(folder)]  # noqa: S108


@pytest.mark.parametrize("seed", [1, 2])
def test_no_setting_of_any_command_is_a_bug(
    seed: int, database_url: str, valkey_url: str, queue_url: str, tmp_path: Path
) -> None:
    add("a.example", KNIT_DB_URL=database_url)
    servers = {"DB": database_url, "VALKEY": valkey_url, "QUEUE": queue_url}
    found = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.fuzzing", str(seed), str(CASES), tmp_path],
        env=environment(**servers),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=500,
        check=True,
    )
    assert found.stdout == ""


IMPOSSIBLE = ["a..b", "a" * 64 + ".b", ".", "\u00df..x"]


@pytest.mark.parametrize("host", IMPOSSIBLE)
@pytest.mark.parametrize("dsn", ["host={} dbname=d", "postgres:///d?host={}", "postgresql://u@/d?host=127.0.0.1,{}"])
def test_a_host_of_postgres_that_can_be_none_is_misconfigured(dsn: str, host: str) -> None:
    with pytest.raises(Misconfigured, match="not a host name"):
        Database.open(dsn.format(host))


@pytest.mark.parametrize("host", IMPOSSIBLE)
def test_a_resolver_s_name_that_can_be_none_has_no_address(host: str) -> None:
    with pytest.raises(Unreachable, match="KNIT_DNS_RESOLVERS"):
        DnsDelegation(Looking(resolvers=(f"{host}:53",), timeout=1), time.sleep)


SURROUNDINGS = {
    "no variables": "exec env -i {knit}",
    "no home, no path": "unset HOME PATH; exec {knit}",
    "a home that is none": "HOME=/proc/1/nowhere TMPDIR=/nowhere exec {knit}",
    "a locale without UTF-8": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 exec {knit}",
    "an output in ASCII": "PYTHONIOENCODING=ascii:strict exec {knit}",
    "a folder that is gone": "mkdir gone; cd gone; rmdir ../gone; exec {knit}",
    "few open files": "ulimit -n 12; exec {knit}",
    "files that cannot grow": "ulimit -f 0; exec {knit}",
    "little memory": "ulimit -v 90000; exec {knit}",
    "a reader that leaves": "{knit} | true",
    "signals ignored": "trap '' PIPE HUP TERM; {knit} | true",
    "closed outputs": "exec {knit} <&- >&- 2>&-",
}
COMMANDS = ["list", "renew --id 1", "watch --once"]


@pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
@pytest.mark.parametrize("words", COMMANDS)
def test_odd_surroundings_are_no_bug(
    words: str, around: str, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    settings = {"KNIT_DB_URL": database_url, "KNIT_VALKEY_URL": valkey_url, "KNIT_DNS_RESOLVERS": "127.0.0.1:1"}
    if words.startswith("watch"):
        settings["KNIT_STATE_DIR"] = str(tmp_path / "state")
    ended = subprocess.run(
        ["/bin/bash", "-c", around.format(knit=f"{PROGRAM} {words}")],
        env=environment(KNIT_DNS_TIMEOUT="1s", KNIT_ACME_DIRECTORY="https://127.0.0.1:1/", **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    assert not BAD.search(ended.stdout + ended.stderr)
    assert ended.returncode in {0, 1, 2}, ended.stderr


@pytest.mark.skipif(not AS_ROOT, reason="mounting needs root")
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("words", ["list", "renew --id 1", "watch --once"])
def test_a_machine_that_lacks_a_part_is_no_bug(words: str, hidden: str, database_url: str, valkey_url: str) -> None:
    command = f"mount -t tmpfs -o ro none {hidden} && cd / && exec {PROGRAM} {words}"
    ended = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", command],  # noqa: S607 -- wherever it is here
        env=environment(KNIT_DB_URL=database_url, KNIT_VALKEY_URL=valkey_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in ended.stderr or "mount" in ended.stderr:
        pytest.skip("no mount namespaces here")
    assert not BAD.search(ended.stdout + ended.stderr)
    assert ended.returncode in {0, 1, 2}, ended.stderr
