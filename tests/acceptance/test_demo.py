"""The first thing that a newcomer runs."""

from __future__ import annotations

import subprocess
import sys

from rig.installation import ROOT


def test_the_demo_plays_to_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rig.demo"], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "published, valid until" in done.stdout
    assert done.stdout.count("serial=") == 2
