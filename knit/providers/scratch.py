"""Files of this process alone, which need no folder: a container whose root is read-only may have none to write in.

They lie in memory where the system can do that (Linux), and in the folder for temporary files elsewhere.
"""

from __future__ import annotations

import os
import tempfile
from typing import BinaryIO, cast

_IN_MEMORY = hasattr(os, "memfd_create")


def unnamed(label: str) -> BinaryIO:
    """An empty file to write and read, gone when it is closed."""
    if _IN_MEMORY:
        return os.fdopen(os.memfd_create(label), "w+b")
    return cast("BinaryIO", tempfile.TemporaryFile(prefix=label))


def kept(label: str, content: bytes) -> str:
    """The path at which this process can read the content for as long as it lives."""
    opened, path = (os.memfd_create(label), "") if _IN_MEMORY else tempfile.mkstemp(prefix=label)
    with os.fdopen(opened, "wb", closefd=not _IN_MEMORY) as file:
        file.write(content)
    return path or f"/proc/self/fd/{opened}"
