"""A whole installation of knit on this machine: its servers, its processes as the Procfile starts them, its CLI."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rig import forks
from rig.forks import ForkedProcess
from rig.lifeline import temporary_directory
from rig.process import Process, wait_until
from rig.programs import MAINS, run_knit

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

    Nothing of the caller's own KNIT_* settings gets in. Closing ends every process, by SIGKILL if it must. With
    `forks`, commands that are run to their end, the scheduler and workers are forked: see forks.py.
    """

    settings: dict[str, str]
    forks: bool = False
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
        environment = self.environment(**(env or {}))
        if self.forks and forks.is_like_ours(environment):
            ended = forks.run(run_knit, ["knit", *words], environment=environment, directory=self.home, seconds=timeout)
            return Result(code=ended.code, out=ended.out, err=ended.err)
        done = subprocess.run(
            [str(BIN / "knit"), *words],
            env=environment,
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
        if not self.forks:
            return self.run(name, ["sh", "-c", f"exec env {procfile()[name]}"], **more)
        settings = self.environment(**more)
        command = re.sub(r"\$\{(\w+):-(\w+)\}", lambda found: settings.get(found[1]) or found[2], procfile()[name])
        return self.serve(name, shlex.split(command), **more)

    def serve(self, name: str, command: Iterable[str], **more: str) -> Process:
        """Start a scheduler or a worker, by a command that may begin with variables of its own."""
        words = list(command)
        if not self.forks or not forks.is_like_ours(self.environment(**more)):
            return self.run(name, ["env", *words], **more)
        while "=" in words[0]:
            variable, _, value = words.pop(0).partition("=")
            more[variable] = value
        begins, main = next((begins, main) for begins, main in MAINS.items() if tuple(words[: len(begins)]) == begins)
        return self._started(
            ForkedProcess(main=main, command=[words[0], *words[len(begins) :]], **self._of_process(name, more))
        )

    def run(self, name: str, command: Iterable[str], **more: str) -> Process:
        """Start any command as a process of this installation."""
        return self._started(Process(command=list(command), **self._of_process(name, more)))

    def _of_process(self, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        number = sum(process.name.startswith(name) for process in self.processes) + 1
        return {
            "name": f"{name}.{number}",
            "output": self.home / f"{name}.{number}.log",
            "environment": {**_emptied(), **self.environment(**more)},
            "directory": self.home,
        }

    def _started(self, process: Process) -> Process:
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
        from rig.looking import sql

        counted = "select count(*) from knit_issued where published_at is not null"
        return int(sql(self.settings["KNIT_DB_URL"], counted)[0][0])


def _emptied() -> dict[str, str]:
    """The caller's own settings, blanked: an empty variable counts as unset."""
    return {name: "" for name in os.environ if name.startswith(("KNIT_", "LEGO_"))}
