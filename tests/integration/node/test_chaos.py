"""A whole node under everything at once: killed, signalled, vandalised; then one quiet pass makes all as published.

`ROUNDS` in the environment makes it longer; `SEED` starts it elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.node import deployment
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, listens, until
from tests.integration.node.test_process import memory_mib

ROUNDS = int(os.environ.get("ROUNDS", "12"))
SEED = int(os.environ.get("SEED", "1"))
PAIRS = 25
NAMES = [f"n{number}" for number in range(PAIRS)]
OTHER = pki.pair("other.test")
FOREIGN = "foreign.txt"
SIGNALS = (
    *(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGALRM),
    *(signal.SIGSTOP, signal.SIGPIPE, signal.SIGURG),
)
SUMS = "sha256sum {folder}/*.pem {folder}/*.key 2>/dev/null | sed 's/ .*\\//,/' | tr '\\n' ' '"
CHECK = f"({SUMS}; echo) >> {{reloads}}"


class World:
    """What is published, and every pair that ever was."""

    def __init__(self, node: Node, publisher: Publisher, chance: random.Random) -> None:
        self.node, self._publisher, self._chance = node, publisher, chance
        self.latest: dict[str, Bundle] = {}
        self.ever: set[tuple[str, str]] = set()
        self.generation = 0
        self.state = Path(node.settings.state_dir)

    def publish(self, names: list[str]) -> None:
        self.generation += 1
        for name in names:
            bundle = pki.pair(f"{name}.test", age=1 - self.generation / 10_000)
            self.latest[name] = bundle
            self.ever.add((_sha(bundle.fullchain), _sha(bundle.privkey)))
            raw = pki.value(bundle, self.node.folder, name, generation=self.generation, cert_id=NAMES.index(name) + 1)
            self._publisher.publish(f"cert:{name}", raw, self.generation)

    def vandalise(self) -> None:
        """One of the things that happen to a machine."""
        folder, name = self.node.folder, self._chance.choice(NAMES)
        target = folder / f"{name}{self._chance.choice(['.pem', '.key'])}"
        log = self.state / "state.log"
        acts: list[Callable[[], object]] = [
            target.unlink,
            lambda: target.write_bytes(OTHER.fullchain if target.suffix == ".pem" else OTHER.privkey),
            lambda: target.chmod(0o777),
            lambda: target.replace(folder / self._chance.choice(NAMES)),
            lambda: shutil.rmtree(self.state),
            log.unlink,
            lambda: os.truncate(log, self._chance.randrange(log.stat().st_size + 1)),
            lambda: log.write_bytes(self._damaged(log.read_bytes())),
            lambda: log.replace(self.state / "lock"),
            (self.state / "lock").unlink,
            lambda: None,
        ]
        with suppress(OSError, ValueError):
            self._chance.choice(acts)()

    def _damaged(self, raw: bytes) -> bytes:
        place = self._chance.randrange(len(raw))
        return raw[:place] + bytes([self._chance.randrange(256)]) + raw[place + 1 :]

    def check(self) -> None:
        """Everything is as published, and nothing else is there."""
        keys = [bundle.privkey.splitlines()[1] for bundle in self.latest.values()]
        assert {name: self.node.pair(name) for name in NAMES} == self.latest
        assert self.node.files() - {f"{n}{end}" for n in NAMES for end in (".pem", ".key")} <= {FOREIGN, *NAMES}
        for path in self.state.iterdir():
            assert path.is_dir() or not any(key in path.read_bytes() for key in keys)
        for line in self.node.reloads.read_text().splitlines():
            self._check_reload(line)

    def _check_reload(self, line: str) -> None:
        """No pair was torn when the service was reloaded, unless a vandal had been there."""
        seen = {name: sha for sha, _, name in (word.partition(",") for word in line.split())}
        for name in NAMES:
            pair = (seen.get(f"{name}.pem"), seen.get(f"{name}.key"))
            mixed = pair not in self.ever and all(any(sha in known for known in self.ever) for sha in pair)
            assert not mixed, f"{name} was torn at a reload"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _storm(process: subprocess.Popen[str], chance: random.Random) -> None:
    for _ in range(chance.randrange(40)):
        process.send_signal(chance.choice(SIGNALS))
        if chance.random() < 0.3:
            time.sleep(0.005)
    process.send_signal(signal.SIGCONT)


def _reloading(file: Path) -> bool:
    """Whether a reload command is still at it: that of a killed node goes on, and is none of the next one's."""
    return subprocess.run(["pgrep", "-f", str(file)], stdout=subprocess.DEVNULL, check=False).returncode == 0  # noqa: S607


def test_whatever_happens_to_a_node_one_quiet_pass_makes_all_as_published(
    node: Node, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a killed node has left, whose state is gone as well, is taken for nobody's at once and not in five minutes.
    monkeypatch.setattr(deployment, "FORGOTTEN", 0.0)
    chance = random.Random(SEED)
    node = node.with_settings(reload_cmd=CHECK.format(folder=node.folder, reloads=tmp_path / "reloads"))
    world = World(node, publisher, chance)
    (node.folder / FOREIGN).write_text("precious")
    world.publish(NAMES)
    assert node.once()
    for _ in range(ROUNDS):
        process = node.process(KNIT_WATCH_INTERVAL="0.1")
        until(lambda pid=process.pid: listens(pid))  # type: ignore[misc]
        for _ in range(chance.randrange(4)):
            world.publish(chance.sample(NAMES, chance.randint(1, PAIRS)))
            time.sleep(chance.random() * 0.3)
            if chance.random() < 0.5:
                world.vandalise()
            if chance.random() < 0.5:
                _storm(process, chance)
        assert process.poll() is None, process.communicate()[1]
        assert memory_mib(process.pid) < 60
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT]))
        said = process.communicate(timeout=30)[1]
        assert process.returncode in {0, -signal.SIGKILL}, said
        assert "Traceback" not in said
        assert "PRIVATE KEY" not in said
        if chance.random() < 0.5:
            world.vandalise()
        until(lambda: not _reloading(tmp_path / "reloads"))
        before = node.reload_count
        assert node.once()
        assert node.once()
        assert node.reload_count <= before + 1
        world.check()
    assert (node.folder / FOREIGN).read_text() == "precious"
