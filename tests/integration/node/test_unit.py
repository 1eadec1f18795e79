"""`knit node unit`, judged by systemd's own program, and by the files that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knit.core.unit import Owners
from knit.node.owners import found_in
from rig.debian import library_path, unpacked
from rig.process import program

SETTINGS = {"KNIT_VALKEY_URL": "redis://:secret-word@valkey.test", "KNIT_STATE_DIR": "/var/lib/knit"}


def printed(**variables: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("KNIT_")}
    command = [str(Path(sys.executable).with_name("knit")), "node", "unit"]
    return subprocess.run(
        command, env=plain | SETTINGS | variables, capture_output=True, text=True, timeout=60, check=False
    )


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze of this system, else Debian's."""
    installed, environment = program("systemd-analyze"), dict(os.environ)
    analyze = str(installed)
    if installed is None:
        root = unpacked("systemd")
        analyze = str(root / "usr/bin/systemd-analyze")
        environment["LD_LIBRARY_PATH"] = os.pathsep.join((library_path(root), str(root / "lib/systemd")))
    return subprocess.run(
        [analyze, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """Among temporary files as systemd knows them, wherever those of the tests are."""
    with TemporaryDirectory(prefix="knit-unit-", dir="/tmp") as made:
        folder = Path(made) / "tls"
        folder.mkdir()
        yield folder


@pytest.mark.parametrize(
    ("folder", "reload", "highest"),
    [
        ("/etc/ssl/knit-test", "systemctl reload nginx", 2.2),
        ("/srv/a b%c", "nginx -t && systemctl reload nginx", 2.5),
        ("/srv/tls", "kill -HUP 1", 2.3),
    ],
)
def test_systemd_takes_the_unit_and_finds_little_exposed(
    tmp_path: Path, folder: str, reload: str, highest: float
) -> None:
    done = printed(KNIT_WATCH_ROOTS=folder, KNIT_RELOAD_CMD=reload)
    assert (done.returncode, done.stderr) == (0, "")
    assert "secret-word" not in done.stdout
    unit = tmp_path / "knit-watch.service"
    # The interpreter of this machine may lie in a home, or among temporary files.
    text = done.stdout.replace("ProtectHome=read-only", "ProtectHome=yes").replace("PrivateTmp=no", "PrivateTmp=yes")
    unit.write_text(text)
    verified = analyzed("verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = analyzed("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for knit-watch.service: ([0-9.]+)", judged.stdout)
    assert found is not None, judged.stderr
    assert float(found[1]) <= highest


def test_the_check_of_this_test_sees_a_line_that_systemd_does_not_take(tmp_path: Path) -> None:
    unit = tmp_path / "knit-watch.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nProtectSistem=strict\n")
    assert "ProtectSistem" in analyzed("verify", "--man=no", str(unit)).stderr


def test_folders_owners_and_commands_are_those_of_the_node_file(folder: Path) -> None:
    places = f"""
    [place.web]
    preset = "nginx"
    files = [
      {{ content = "fullchain", path = "{folder}/{{name}}.crt" }},
      {{ content = "privkey", path = "{folder}/keys/{{name}}.key", mode = "0640", group = "1" }},
    ]
    create_dirs = true
    [[take]]
    names = ["*.example.org"]
    place = "web"
    """
    done = printed(KNIT_NODE=places)
    assert (done.returncode, done.stderr) == (0, "")
    made = done.stdout.splitlines()
    assert [line for line in made if str(folder) in line] == [f"ReadWritePaths=-{folder}"]
    assert "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE" in made
    assert "PrivateTmp=no" in made


def test_the_home_that_the_interpreter_lies_in_can_be_seen() -> None:
    python = Path(sys.executable)
    homes = any(str(path).startswith(("/root/", "/home/")) for path in (python, python.resolve()))
    made = printed(KNIT_WATCH_ROOTS="/etc/ssl/knit").stdout.splitlines()
    assert f"ProtectHome={'read-only' if homes else 'yes'}" in made


def test_without_roots_there_is_no_sandbox_to_print() -> None:
    done = printed()
    assert (done.returncode, done.stdout) == (2, "")
    assert "KNIT_WATCH_ROOTS is not set" in done.stderr


def test_files_of_others_are_found_wherever_they_lie(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (folder / "below").mkdir()
    (folder / "below" / "a.pem").touch()
    (folder / "link").symlink_to("/nowhere")
    os.lchown(folder / "link", 12345, 12345)
    assert found_in([str(folder), "/nowhere"]) == Owners()
    os.chown(folder / "below" / "a.pem", -1, 12345)
    assert found_in([str(folder)]) == Owners(groups=True)
    os.chown(folder / "below" / "a.pem", 12345, -1)
    assert found_in([str(folder)]) == Owners(users=True, groups=True)
    assert "CAP_FOWNER" in printed(KNIT_WATCH_ROOTS=str(folder)).stdout
