"""A process with keys in memory leaves no core file and cannot be read by its neighbours."""

from __future__ import annotations

import subprocess
import sys

SHOWN = """
import ctypes, resource
from knit.undumpable import keep_memory_private
keep_memory_private()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_is_not_dumpable_and_has_no_core_limit_left() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0"]
