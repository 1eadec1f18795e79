"""A machine on which Debian packages look installed: its own /usr, /etc, /run and /var, this machine's network.

Servers have paths built into them, and accounts. In a mount namespace of its own, unpacked packages lie over this
machine's files, so that each program finds what it looks for, and nothing of it is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig import debian
from rig.lifeline import temporary_directory
from rig.process import MissingError, Process, RigError, accepts, program

ACCOUNTS = (
    "postfix",
    "postdrop",
    "dovecot",
    "dovenull",
    "openldap",
    "mysql",
    "mosquitto",
    "caddy",
    "haproxy",
    "ssl-cert",
)
FIRST_ID = 60_000
OWN = ("run", "var/lib", "var/log", "var/spool")
"""Folders that begin with what the packages have in them, and nothing of this machine's."""

SYSTEMCTL = """\
#!/bin/sh
# There is no systemd here: `systemctl reload UNIT` does what Debian's unit says.
unit=/usr/lib/systemd/system/$2.service
[ "$1" = reload ] && [ -f "$unit" ] || exit 5
MAINPID=$(cat "/run/main/$2") || exit 5
eval "export MAINPID $(sed -n 's/^Environment=//p' "$unit")"
sed -n 's/^ExecReload=//p' "$unit" | while read -r line; do eval "$line" || exit 1; done
"""


class Machine:
    """Made from packages; `start` what is to run on it, and `run` commands."""

    def __init__(self, *packages: str) -> None:
        if os.geteuid() != 0 or program("unshare") is None or program("nsenter") is None:
            message = "a machine of the rig's needs root, unshare and nsenter"
            raise MissingError(message)
        root = debian.unpacked(*packages)
        self.home = temporary_directory("machine")
        self.home.chmod(0o755)
        self._prepare(root)
        self._holder = Process(
            name="machine",
            command=["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", self._mounts(root)],
            output=self.home / "mounts",
        )
        self._servers: dict[str, Process] = {}
        self._holder.start((self.home / "mounted").exists)

    def folder(self, path: str) -> Path:
        """A folder of the machine's, by its own name, as it is seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def write(self, path: str, text: str) -> None:
        """Make or replace one of its files."""
        file = self.folder(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def command(self, *words: str) -> list[str]:
        """The command that runs these words on the machine."""
        return ["nsenter", "--mount", f"--target={self._holder.pid}", "--wdns=/", *words]

    def run(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. What it leaves in the background may have its output."""
        with (self.home / "output").open("w+") as output:
            done = subprocess.run(
                self.command(*words),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                timeout=seconds,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")

    def must(self, *words: str) -> str:
        """Run a command that has to succeed; what it printed."""
        done = self.run(*words)
        if done.returncode != 0:
            message = f"{words} ended with {done.returncode}: {done.stdout[-2000:]}"
            raise RigError(message)
        return done.stdout

    def start(self, unit: str, *words: str, port: int, environment: Mapping[str, str] | None = None) -> Process:
        """Run a server that stays in the foreground until it accepts connections on this port of 127.0.0.1."""
        server = self._servers[unit] = Process(
            name=unit, command=self.command(*words), output=self.home / f"{unit}.log", environment=environment or {}
        )
        server.start(lambda: accepts(port), seconds=30)
        # nsenter has become the server.
        self.write(f"/run/main/{unit}", f"{server.pid}\n")
        return server

    def said(self, unit: str) -> str:
        """What a server has printed."""
        return self._servers[unit].text()

    def stop(self, unit: str) -> None:
        """End a server, and what is left of its process group."""
        self._servers.pop(unit).stop()

    def close(self) -> None:
        """End all that runs on it, and remove it."""
        for server in reversed(self._servers.values()):
            server.stop(seconds=5)
        for pid in _inside(self._holder.pid):
            os.kill(pid, 9)
        self._holder.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _prepare(self, root: Path) -> None:
        etc, programs = self.home / "etc", self.home / "usr" / "bin"
        for folder in (etc, programs, *(self.home / name for name in OWN)):
            folder.mkdir(parents=True)
            folder.chmod(0o755)
        for number, name in enumerate(ACCOUNTS, FIRST_ID):
            _append(etc / "passwd", f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin")
            _append(etc / "group", f"{name}:x:{number}:")
        for name in ("passwd", "group"):
            known = Path("/etc", name).read_text()
            (etc / name).write_text(known + (etc / name).read_text())
        (programs / "systemctl").write_text(SYSTEMCTL)
        (programs / "systemctl").chmod(0o755)
        for name in OWN:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.home / name, dirs_exist_ok=True, symlinks=True)

    def _mounts(self, root: Path) -> str:
        """The etc of the machine is writable, in memory: files of this machine are only below it."""
        home = self.home
        return "\n".join(
            [
                _overlay("/usr", home / "usr", root / "usr"),
                *([_overlay("/usr/lib", root / "lib")] if (root / "lib").is_dir() else []),
                *([_overlay("/usr/sbin", root / "sbin")] if (root / "sbin").is_dir() else []),
                f"mkdir {home}/memory; mount -t tmpfs -o mode=755 none {home}/memory",
                f"mkdir {home}/memory/changed {home}/memory/work",
                _overlay(
                    "/etc",
                    home / "etc",
                    root / "etc",
                    more=f",upperdir={home}/memory/changed,workdir={home}/memory/work",
                ),
                *(f"mount --bind {home}/{name} /{name}" for name in OWN),
                f"touch {home}/mounted",
                "exec sleep infinity",
            ]
        )


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def _overlay(path: str, *over: Path, more: str = "") -> str:
    lower = ":".join(str(one) for one in over if one.is_dir())
    return f"mount -t overlay -o lowerdir={lower}:{path}{more} none {path}"


def _inside(holder: int) -> Sequence[int]:
    """The processes in the machine's namespace, but for the one that holds it."""
    space = Path(f"/proc/{holder}/ns/mnt").readlink()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "ns" / "mnt").readlink() == space and int(entry.name) != holder:
                found.append(int(entry.name))
        except OSError:
            continue  # It has just ended.
    return found
