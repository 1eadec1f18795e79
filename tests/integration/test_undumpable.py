"""A process with keys in memory leaves no core file and cannot be read by its neighbours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rig.installation import ROOT

SHOWN = """
import ctypes, resource
from knit.undumpable import keep_memory_private
keep_memory_private()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_is_not_dumpable_and_has_no_core_limit_left() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0"]


KEEPS_LIMITS = """
import ctypes, resource
from knit.undumpable import refuse_dumps
before = resource.getrlimit(resource.RLIMIT_CORE)
refuse_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE) == before)
"""


def test_what_a_node_starts_keeps_the_limits_that_it_had() -> None:
    done = subprocess.run([sys.executable, "-c", KEEPS_LIMITS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


def dumps_core(program: list[str], folder: Path, ready: str, **environment: str) -> bool:
    """Whether the program leaves a core file when it is aborted after it has said `ready`."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", *program],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
    )
    with process:
        assert process.stderr is not None
        while ready not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGABRT)
        return os.WCOREDUMP(os.waitpid(process.pid, 0)[1])


def test_a_node_that_is_aborted_leaves_no_core_file(tmp_path: Path) -> None:
    plain = [sys.executable, "-c", "import sys, time; print('here', file=sys.stderr); time.sleep(60)"]
    if not dumps_core(plain, tmp_path, "here"):
        pytest.skip("this machine keeps no core files of anybody")
    node = [sys.executable, "-m", "knit.node"]
    url = "redis://127.0.0.1:1/0"
    state = str(tmp_path / "state")
    assert not dumps_core(node, tmp_path, "level=", KNIT_VALKEY_URL=url, KNIT_STATE_DIR=state)
