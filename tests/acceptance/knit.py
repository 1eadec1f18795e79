"""The `knit` command in a process of its own, with an environment that holds no setting but the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import forks
from rig.programs import run_knit

SECONDS = 60
PROGRAM = Path(sys.executable).parent / "knit"


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def knit(*arguments: str, **settings: str) -> Done:
    """Run `knit` with these arguments and KNIT_ settings to its end: forked, if the interpreter need not see them."""
    around = environment(**settings)
    if forks.is_like_ours(around):
        done = forks.run(run_knit, ["knit", *arguments], environment=around, directory=Path.cwd(), seconds=SECONDS)
        return Done(done.code, done.out, done.err)
    ended = subprocess.run(
        [PROGRAM, *arguments],
        env=around,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings instead of any that are there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KNIT_", "LEGO_", "DESEC_"))}
    return {**kept, **settings}


def add(name: str, *more: str, **settings: str) -> Done:
    """`knit add` of one certificate whose key and paths follow from its first name."""
    first = name.partition(",")[0].removeprefix("*.")
    places = [
        "--valkey-key",
        f"tls:{first}",
        "--cert-path",
        f"/etc/tls/{first}.crt",
        "--key-path",
        f"/etc/tls/{first}.key",
    ]
    return knit("add", "--domains", name, "--provider", "desec", *places, *more, **settings)
