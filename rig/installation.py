"""A whole installation of knit on this machine: its servers, its processes as the Procfile starts them, its CLI."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rig.lifeline import temporary_directory
from rig.process import Process, wait_until

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def procfile() -> dict[str, str]:
    """The Procfile's commands by process name."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    found = [match for line in lines if (match := re.fullmatch(r"([\w-]+):\s*(.+)", line))]
    return {match[1]: match[2] for match in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(slots=True, kw_only=True)
class Installation:
    """Settings are one environment for all; processes are started by their Procfile names, as often as wanted.

    Nothing of the caller's own KNIT_* settings gets in. Closing ends every process, by SIGKILL if it must.
    """

    settings: dict[str, str]
    home: Path = field(default_factory=lambda: temporary_directory("installation"))
    processes: list[Process] = field(default_factory=list)
    _closing: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process at once, then what was entered, then remove the directory."""
        for process in self.processes:
            process.kill()
        self._closing.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of this installation gets, nothing of the caller's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KNIT_", "LEGO_"))}
        return {**inherited, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **self.settings, **more}

    def knit(self, *words: str, timeout: float = 60, env: Mapping[str, str] | None = None) -> Result:
        """Run a `knit` command to its end."""
        done = subprocess.run(
            [str(BIN / "knit"), *words],
            env=self.environment(**(env or {})),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(code=done.returncode, out=done.stdout, err=done.stderr)

    def add(self, *domains: str, provider: str, node: Path | None = None) -> int:
        """`knit add` with key and paths made from the first name; gives the certificate's id."""
        stem = domains[0].replace("*", "_")
        folder = node or self.home / "tls"
        result = self.knit(
            *("add", "--json", "--domains", ",".join(domains), "--provider", provider),
            *("--valkey-key", f"certs:{stem}"),
            *("--cert-path", str(folder / f"{stem}.crt"), "--key-path", str(folder / f"{stem}.key")),
        )
        if result.code:
            raise AssertionError(result.err)
        return int(result.json["id"])

    def list(self) -> list[dict[str, Any]]:
        """`knit list --json`."""
        found: list[dict[str, Any]] = self.knit("list", "--json").json
        return found

    def start(self, name: str, **more: str) -> Process:
        """Start one process as the Procfile says."""
        command = procfile()[name]
        return self.run(name, ["sh", "-c", f"exec env {command}"], **more)

    def run(self, name: str, command: Iterable[str], **more: str) -> Process:
        """Start any command as a process of this installation."""
        number = sum(process.name.startswith(name) for process in self.processes) + 1
        process = Process(
            name=f"{name}.{number}",
            command=list(command),
            output=self.home / f"{name}.{number}.log",
            environment={**_emptied(), **self.environment(**more)},
            directory=self.home,
        )
        process.start()
        self.processes.append(process)
        return process

    def watch(self, folder: Path, **more: str) -> Process:
        """Start a node that may write below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.home / f"state-{folder.name}"
        settings = {"KNIT_WATCH_ROOTS": str(folder), "KNIT_STATE_DIR": str(state), "KNIT_WATCH_INTERVAL": "1s"}
        return self.run("watch", [str(BIN / "knit"), "watch"], **{**settings, **more})

    def logs(self) -> str:
        """Everything every process has printed."""
        return "\n".join(f"--- {process.name}\n{process.text()}" for process in self.processes)

    def wait_published(self, count: int, *, seconds: float = 60) -> float:
        """Wait until so many certificates are published; gives how long it took, in seconds."""
        began = time.monotonic()
        wait_until(lambda: self.published() >= count, f"{count} certificates published", seconds=seconds)
        return time.monotonic() - began

    def published(self) -> int:
        """How many certificates Postgres knows as published."""
        import psycopg

        with psycopg.connect(self.settings["KNIT_DB_URL"]) as connection:
            row = connection.execute("select count(*) from knit_issued where published_at is not null").fetchone()
        return int(row[0]) if row else 0


def _emptied() -> dict[str, str]:
    """The caller's own settings, blanked: an empty variable counts as unset."""
    return {name: "" for name in os.environ if name.startswith(("KNIT_", "LEGO_"))}
