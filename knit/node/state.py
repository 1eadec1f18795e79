"""What a node must not forget between two runs: one small JSON file, and one more while files are being moved.

Both are replaced whole. A state that is lost or damaged costs one comparison with the files on disk.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from knit.core.placement import Installed
from knit.errors import Refused, Transient
from knit.node import files
from knit.node.records import Records, pack

log = logging.getLogger(__name__)

VERSION = 1


@dataclass(slots=True, kw_only=True)
class State:
    """`installed` by Valkey key; `revision` of the change feed up to which everything has been looked at."""

    installed: Records = field(default_factory=Records)
    revision: int | None = None
    reload_owed: bool = False


class StateFolder:
    """KNIT_STATE_DIR, held by one process at a time."""

    def __init__(self, path: str) -> None:
        """Make and lock it. Raises Refused when another process holds it or it cannot be made."""
        self._path = path
        try:
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        except OSError as error:
            raise Refused(f"KNIT_STATE_DIR {path!r} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"another knit watch is using KNIT_STATE_DIR {path!r}: give each its own") from None

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
        os.close(self._folder)

    def load(self) -> State:
        """The state; a fresh one when there is none or it cannot be read."""
        try:
            document = self.read("state.json", _packed)
            return State() if document is None else _state(document)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning("node state is damaged, comparing with the files instead", extra={"folder": self._path})
            return State()

    def save(self, state: State) -> None:
        """Keep it. Raises Transient when it cannot be written."""
        self._replace("state.json", _pieces(state))

    def read(self, name: str, hook: Callable[[dict[str, Any]], object] | None = None) -> Mapping[str, Any] | None:
        """The JSON object in this file, None when there is no such thing. `hook` may replace the objects in it."""
        try:
            document = json.loads(Path(self._path, name).read_bytes(), object_hook=hook)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            log.warning("node state cannot be read", extra={"folder": self._path, "file": name})
            return None
        return document if isinstance(document, dict) else None

    def write(self, name: str, document: Mapping[str, object]) -> None:
        """Replace the file in one step, on disk. Raises Transient."""
        self._replace(name, [json.dumps(document)])

    def _replace(self, name: str, pieces: Iterable[str]) -> None:
        temporary = f"{name}.tmp"
        try:
            files.remove(self._folder, temporary)
            files.create(self._folder, temporary, (piece.encode() for piece in pieces), 0o600)
            files.replace(self._folder, temporary, name)
            os.fsync(self._folder)
        except OSError as error:
            raise Transient(f"KNIT_STATE_DIR {self._path!r} cannot be written: {error.strerror}") from None

    def forget(self, name: str) -> None:
        """Remove the file. Raises Transient."""
        try:
            files.remove(self._folder, name)
            os.fsync(self._folder)
        except OSError as error:
            raise Transient(f"KNIT_STATE_DIR {self._path!r} cannot be written: {error.strerror}") from None


def record_out(installed: Installed) -> dict[str, object]:
    """The record as JSON."""
    return asdict(installed) | {
        "not_before": installed.not_before.isoformat(),
        "not_after": installed.not_after.isoformat(),
    }


def record_in(document: Mapping[str, Any]) -> Installed:
    """The record from JSON. Raises KeyError, TypeError or ValueError."""
    dates = {name: datetime.fromisoformat(document[name]) for name in ("not_before", "not_after")}
    if any(date.tzinfo is None for date in dates.values()):
        raise ValueError("a time without a zone")
    return Installed(
        sha256=str(document["sha256"]),
        cert_path=str(document["cert_path"]),
        key_path=str(document["key_path"]),
        cert_id=document["cert_id"],
        generation=document["generation"],
        **dates,
    )


def _pieces(state: State) -> Iterator[str]:
    """The state as JSON. As one text, ten thousand records would stay in this process's memory for good."""
    head = json.dumps({"v": VERSION, "revision": state.revision, "reload_owed": state.reload_owed})
    yield f'{head[:-1]}, "installed": {{'
    comma = ""
    for key, installed in state.installed.items():
        yield f"{comma}{json.dumps(key)}: {json.dumps(record_out(installed))}"
        comma = ", "
    yield "}}"


def _packed(document: dict[str, Any]) -> object:
    """Each record as soon as it is parsed: never are there ten thousand objects."""
    return pack(record_in(document)) if "sha256" in document else document


def _state(document: Mapping[str, Any]) -> State:
    installed = document["installed"]
    if not all(isinstance(record, bytes) for record in installed.values()):
        raise ValueError("a record without its hash")
    return State(
        installed=Records(installed),
        revision=None if document["revision"] is None else int(document["revision"]),
        reload_owed=bool(document["reload_owed"]),
    )
