from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knit.core.model.certificate import Bundle
from knit.core.model.places import NodeFile, Place
from knit.node import main
from knit.node.disk import Disk
from knit.node.loop import Loop
from knit.node.main import _wired
from knit.node.service import Manager
from knit.node.signals import Signals
from knit.settings.node import NodeSettings
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from tests.integration.node import pki
from tests.integration.node.forked import ForkedInspector, ordinary_environment

ROOT = Path(__file__).parents[3]
LAYOUT = Layout()


@dataclass
class Publisher:
    """The centre's side, and that of the Go knit."""

    url: str
    folder: Path

    def __post_init__(self) -> None:
        self.link = connect(self.url, name="knit-test")
        self._publication = ValkeyPublication(self.link, LAYOUT, "test")
        assert self._publication.claim(None)

    def publish(self, key: str, raw: bytes, generation: int = 1) -> None:
        """In place of an older value; `generation` is the one in `raw`."""
        there = self._publication.look([key])[key].token
        assert not there.isdigit() or int(there) < generation
        assert self._publication.publish([(key, raw, there)]) == [None]

    def pair(self, key: str, bundle: Bundle, generation: int = 1, name: str = "www") -> None:
        self.publish(key, pki.value(bundle, self.folder, name, generation=generation), generation)

    def without_feed(self, key: str, raw: bytes) -> None:
        """As the Go knit publishes."""
        self.link.client.set(key, raw)
        self.link.client.sadd(LAYOUT.index, key)

    def prune(self, key: str) -> None:
        self._publication.prune({key: self._publication.look([key])[key].token})


@dataclass
class Node:
    """One node: its files, its settings, and ways to run it."""

    folder: Path
    settings: NodeSettings
    reloads: Path
    opened: ExitStack

    def with_settings(self, **changes: object) -> Node:
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]

    def start(self) -> Loop:
        """A loop as after a start; `once` of it is a whole pass, `_pass(sweep=False)` a poll."""
        self.opened.close()
        return _wired(self.settings, Signals(), self.opened, Manager(None, None))

    def once(self) -> bool:
        loop = self.start()
        try:
            return loop.once()
        finally:
            self.opened.close()

    def environment(self, **more: str) -> dict[str, str]:
        settings = self.settings
        return {
            **os.environ,
            "KNIT_VALKEY_URL": settings.valkey_url,
            "KNIT_STATE_DIR": settings.state_dir,
            "KNIT_WATCH_ROOTS": ":".join(settings.roots or ()),
            "KNIT_RELOAD_CMD": settings.reload_cmd or "",
            "KNIT_WATCH_INTERVAL": str(settings.watch_interval.total_seconds()),
            **more,
        }

    def process(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "knit.node", *arguments]
        process = subprocess.Popen(
            command, env=self.environment(**more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.opened.callback(_end, process)
        return process

    def pair(self, name: str = "www") -> Bundle:
        return Bundle(
            fullchain=(self.folder / f"{name}.pem").read_bytes(), privkey=(self.folder / f"{name}.key").read_bytes()
        )

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    @property
    def reload_count(self) -> int:
        return len(self.reloads.read_text().splitlines()) if self.reloads.exists() else 0


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def owes(disk: Disk) -> bool:
    """Whether a reload is owed for anything."""
    return any(disk.ledger.owed().values())


def settle(disk: Disk) -> None:
    """As after a reload that has succeeded."""
    for keys in disk.ledger.owed().values():
        disk.ledger.done(keys, datetime.now(UTC))


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def listens(pid: int) -> bool:
    """Whether it has taken over from the system what signals do."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)


@contextmanager
def small_disk(path: Path, kib: int = 64) -> Iterator[Callable[[int], None]]:
    """A file system of its own at this path; what it yields leaves so many bytes of it free."""
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")

    def leave(free: int) -> None:
        filler = path / "filler"
        filler.unlink(missing_ok=True)
        available = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
        filler.write_bytes(b"x" * max(available - free, 0))

    try:
        yield leave
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S607 -- wherever it is here


@contextmanager
def attribute(path: Path, letter: str) -> Iterator[None]:
    """While it has this attribute, root is bound by it too: `i`, nothing changes it; `a`, nothing leaves a folder."""
    subprocess.run(["chattr", f"+{letter}", path], check=True)  # noqa: S607 -- wherever it is here
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{letter}", path], check=True)  # noqa: S607 -- as above


def has_attributes(folder: Path) -> bool:
    """Whether its file system has them, and whether we may give them: one in memory may have none."""
    try:
        with attribute(folder, "a"):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


with_attributes = pytest.mark.parametrize("home", ["with attributes"], indirect=True)
"""The node of the test is on a file system that has attributes, wherever temporary files are."""

SHORT = "with a short name"

with_a_short_name = pytest.mark.parametrize("home", [SHORT], indirect=True)
"""The node's state, where its home is named some twenty times, is that much shorter."""


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where the node's files are."""
    if not hasattr(request, "param"):
        yield tmp_path
        return
    if request.param == SHORT:
        with TemporaryDirectory(prefix="k") as short:
            yield Path(short)
        return
    with ExitStack() as made:
        for place in (tmp_path, Path("/var/tmp"), ROOT):  # noqa: S108 -- a folder of our own is made in it
            folder = Path(made.enter_context(TemporaryDirectory(prefix="knit-attributes-", dir=place)))
            if has_attributes(folder):
                yield folder
                return
    pytest.skip("no file system here lets us set attributes")


@pytest.fixture
def node(valkey_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(main, "Inspector", ForkedInspector)
    folder = home / "certs"
    folder.mkdir()
    reloads = home / "reloads"
    reload = f"echo reloaded >> {reloads}"
    settings = NodeSettings(
        valkey_url=valkey_url,
        index_key=LAYOUT.index,
        watch_interval=timedelta(seconds=60),
        reload_cmd=reload,
        reload_timeout=timedelta(seconds=5),
        roots=(str(folder),),
        state_dir=str(home / "state"),
        node=NodeFile(name="node", places={"default": Place(name="default", reload=reload)}),
        node_from=None,
        log_level="info",
        child_environment=ordinary_environment(),
    )
    with ExitStack() as opened:
        yield Node(folder=folder, settings=settings, reloads=reloads, opened=opened)


@pytest.fixture
def publisher(valkey_url: str, node: Node) -> Iterator[Publisher]:
    publisher = Publisher(valkey_url, node.folder)
    yield publisher
    publisher.link.close()
