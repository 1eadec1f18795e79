"""Debian packages unpacked into our own cache: the same way for root and for others, and the system stays as it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rig.cache import cache_directory, exclusively
from rig.process import MissingError, program

PLANNED = re.compile(r"^Inst (\S+) ", re.MULTILINE)
DONE = ".unpacked"


def unpacked(*packages: str) -> Path:
    """The folder holding the packages and those of their dependencies that this system lacks.

    Raises MissingError where there is no apt or where a package cannot be had.
    """
    if program("apt-get") is None or program("dpkg-deb") is None:
        message = f"no apt-get here to fetch the Debian package {packages[0]}"
        raise MissingError(message)
    root = cache_directory() / "debian" / "+".join(packages)
    with exclusively("debian"):
        if not (root / DONE).exists():
            _unpack(packages, root)
    return root


def library_path(root: Path) -> str:
    """LD_LIBRARY_PATH for the programs of an unpacked package."""
    triplet = f"{platform.machine()}-linux-gnu"
    return os.pathsep.join(str(root / folder / triplet) for folder in ("usr/lib", "lib"))


def _unpack(packages: Sequence[str], root: Path) -> None:
    debs = root / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    wanted = _missing(packages)
    _run([*_apt_get(), "download", *wanted], debs)
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(deb), str(root)], debs)
        deb.unlink()
    (root / DONE).touch()


def _missing(packages: Sequence[str]) -> list[str]:
    """The packages and whatever of their dependencies is not installed, by a dry run of apt's own solver."""
    plan = [*_apt_get(), "--simulate", "--no-install-recommends", "--reinstall", "install", *packages]
    try:
        text = _run(plan, Path("/"))
    except MissingError:
        _run([*_apt_get(), "--quiet", "update"], Path("/"))
        text = _run(plan, Path("/"))
    return sorted({*packages, *PLANNED.findall(text)})


def _apt_get() -> list[str]:
    """apt-get with lists and archives in our own cache: it needs no root and changes nothing of the system's."""
    state, cache = cache_directory() / "apt" / "lists", cache_directory() / "apt" / "cache"
    for folder in (state / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    options = (f"Dir::State::Lists={state}", f"Dir::Cache={cache}", "Debug::NoLocking=1", "APT::Sandbox::User=")
    return ["apt-get", *(word for option in options for word in ("-o", option))]


def _run(command: list[str], directory: Path) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        message = f"{command[0]} ended with {done.returncode}: {last}"
        raise MissingError(message)
    return done.stdout
