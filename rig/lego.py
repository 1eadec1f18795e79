"""lego as the Python index ships it, in a virtual environment of its own: it is too large for ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rig.cache import cache_directory, exclusively
from rig.process import MissingError

DISTRIBUTION = "certbot-dns-multi"
VERSION = "5.5.1"
SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Lego:
    """A Python interpreter that can import lego_bridge."""

    interpreter: str
    source: str


@cache
def lego() -> Lego:
    """Installed once for each version of Python, without certbot, which it asks for and does not need."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_directory() / f"lego-{VERSION}-python{version}"
    with exclusively("lego"):
        if not folder.exists():
            _install(folder)
    return Lego(interpreter=str(folder / "bin" / "python"), source=f"pip install {DISTRIBUTION}=={VERSION}")


def _install(folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(partial)])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    _run([str(partial / "bin" / "python"), *install, f"{DISTRIBUTION}=={VERSION}"])
    partial.rename(folder)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")
    except subprocess.TimeoutExpired:
        message = f"lego: not installed after {SECONDS} s"
        raise MissingError(message) from None
    if done.returncode != 0:
        message = f"lego: {(done.stderr.strip().splitlines() or ['pip said nothing'])[-1]}"
        raise MissingError(message)
