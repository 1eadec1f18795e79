"""Places with real files, real state and real commands: check, reload, probe, and the way back."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from knit.core.deploying import Server, is_due
from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle
from knit.core.model.deployed import Leaf, Progress, Step
from knit.core.model.places import Place
from knit.core.outputs import outputs_of
from knit.core.placement import Installed, Placement
from knit.flows.deploy import Deploy, Outcome
from knit.node.disk import Disk
from knit.node.folders import Folders
from knit.node.reload import Shell
from knit.node.state import StateFolder
from knit.ports.commands import Commands, Ran
from tests.integration.node import pki
from tests.integration.node.dying import killed

BAD = Bundle(fullchain=b"bad\n", privkey=b"bad\n")


class Machine:
    """One place called `web`, whose server says with a check and a reload what it makes of its files.

    The check fails where a file holds the word bad, or where there is a file `broken`. The reload copies the files to
    `loaded`, or fails where there is a file `stuck`.
    """

    def __init__(self, home: Path, *, timeout: float = 5, quick: bool = False) -> None:
        self.home = home
        self.commands: Commands = Quick(self) if quick else Shell(timeout, dict(os.environ), lambda: False)
        self.folder, self.loaded, self.trace = home / "certs", home / "loaded", home / "trace"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.loaded.mkdir(exist_ok=True)
        broken = f"test -e {home}/broken || grep -lx bad {self.folder}/*.pem"
        stuck = f"test -e {home}/stuck"
        self.servers = {
            "web": Server(
                place=Place(
                    name="web",
                    check=f"echo check >> {self.trace}; ! ({broken})",
                    reload=f"echo reload >> {self.trace}; ! {stuck} && cp {self.folder}/*.pem {self.loaded}",
                ),
                goes_back=True,
            )
        }
        self.published: dict[str, tuple[Bundle, int]] = {}
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.opened = ExitStack()

    def start(self) -> None:
        """As a node that starts."""
        self.opened.close()
        state = StateFolder(str(self.home / "state"))
        self.opened.callback(state.close)
        self.disk = Disk(Folders((str(self.folder),), str(self.home / "state")), state, nullcontext)
        self.opened.callback(self.disk.close)
        self.deploy = Deploy(
            servers=self.servers,
            ledger=self.disk.ledger,
            commands=self.commands,
            prober=None,
            write=self.write,
            clock=lambda: self.now,
            monotonic=time.monotonic,
            stopping=lambda: False,
        )
        self.disk.recover()

    def write(self, keys: Collection[str]) -> Collection[str]:
        placements = [self.placement(key, *self.published[key]) for key in sorted(keys)]
        failures = self.disk.install(placements)
        return [key for key in keys if key not in failures]

    def placement(self, key: str, bundle: Bundle, generation: int) -> Placement:
        outputs = outputs_of(bundle, cert_path=f"{self.folder}/{key}.pem", key_path=f"{self.folder}/{key}.key")
        record = Installed(
            sha256=pair_digest(bundle.fullchain, bundle.privkey),
            files=tuple(output.file for output in outputs),
            not_before=self.now,
            not_after=self.now + timedelta(days=generation * 30),
            generation=generation,
        )
        return Placement(
            key=key,
            outputs=outputs,
            record=record,
            known=self.disk.installed.get(key),
            paired=True,
            progress=Progress(leaf=Leaf(place="web", name=f"{key}.test"), written_at=self.now),
            keeps=self.servers["web"].goes_back,
        )

    def publish(self, pairs: Mapping[str, Bundle], generation: int) -> Outcome:
        """These are published and written, and the place goes on."""
        self.published |= {key: (bundle, generation) for key, bundle in pairs.items()}
        return self.deploy.run(self.write(list(pairs)))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def serves(self, key: str) -> bytes:
        return (self.loaded / f"{key}.pem").read_bytes()

    def traced(self) -> list[str]:
        """The commands since the last question."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        self.trace.unlink(missing_ok=True)
        return lines

    def kept(self) -> int:
        folder = self.home / "state/kept"
        return len(list(folder.iterdir())) if folder.exists() else 0


class Quick:
    """The same commands without a process for each."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def run(self, command: str) -> Ran:
        there = {path.name: path.read_bytes() for path in self._machine.folder.glob("*.pem")}
        if " check " in command:
            bad = BAD.fullchain in there.values()
            return Ran(failure="exited with status 1" if bad else None, output="")
        for name, content in there.items():
            (self._machine.loaded / name).write_bytes(content)
        return Ran(failure=None, output="")


def pairs(*keys: str) -> dict[str, Bundle]:
    return {key: pki.pair(f"{key}.test") for key in keys}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.start()
    return machine


def test_fifty_certificates_are_one_check_and_one_reload(machine: Machine) -> None:
    many = pairs(*(f"n{number}" for number in range(50)))
    assert machine.publish(many, 1).well
    assert machine.traced() == ["check", "reload"]
    assert machine.publish({}, 1).wakes is None
    assert machine.traced() == []
    assert all(machine.serves(key) == bundle.fullchain for key, bundle in many.items())
    progress = machine.disk.ledger.progress("n7")
    assert progress is not None
    assert progress.reloaded_at == machine.now


def test_a_pair_that_the_check_refuses_goes_and_the_one_of_before_comes_back_without_a_reload(
    machine: Machine,
) -> None:
    old = pairs("a")
    machine.publish(old, 1)
    before = machine.files()
    machine.traced()
    assert not machine.publish({"a": BAD}, 2).well
    assert machine.traced() == ["check"]
    assert machine.files() == before
    refusal = machine.disk.ledger.refusals()["a"]
    assert (refusal.fault.step, refusal.fault.rolled_back, refusal.generation) == (Step.CHECK, True, 2)
    assert refusal.fault.output.endswith("a.pem")
    assert refusal.fault.next_try == machine.now + timedelta(seconds=10)
    assert machine.publish(new := pairs("a"), 3).well
    assert machine.serves("a") == new["a"].fullchain
    assert machine.disk.ledger.refusals() == {}


@pytest.mark.parametrize("bad", [{"n3"}, {"n0", "n6"}, {f"n{number}" for number in range(7)}])
def test_bad_certificates_hold_up_none_of_their_neighbours(machine: Machine, bad: set[str]) -> None:
    old = pairs(*(f"n{number}" for number in range(7)))
    machine.publish(old, 1)
    machine.traced()
    new = {key: BAD if key in bad else bundle for key, bundle in pairs(*old).items()}
    machine.publish(new, 2)
    assert machine.traced().count("reload") == (len(bad) < len(old))
    assert machine.disk.ledger.refusals().keys() == bad
    for key in old:
        expected = old[key] if key in bad else new[key]
        assert machine.serves(key) == machine.files()[f"{key}.pem"] == expected.fullchain
    assert machine.disk.ledger.owed() == {}


def test_a_configuration_broken_by_hand_is_told_from_a_bad_certificate(machine: Machine) -> None:
    old = pairs("a", "b")
    machine.publish(old, 1)
    before = machine.files()
    (machine.home / "broken").touch()
    machine.publish(pairs("a", "b"), 2)
    assert machine.files() == before
    faults = {refusal.fault for refusal in machine.disk.ledger.refusals().values()}
    assert [("files of before" in fault.error, fault.tries) for fault in faults] == [(True, 1)]


def test_a_reload_that_fails_puts_all_back_and_is_followed_by_another_one(machine: Machine) -> None:
    old, stuck = pairs("a", "b"), machine.home / "stuck"
    machine.publish(old, 1)
    machine.traced()
    stuck.touch()
    assert not machine.publish(pairs("a", "b"), 2).well
    assert machine.traced() == ["check", "reload", "check", "reload"]
    assert {path: content for path, content in machine.files().items() if path.endswith("pem")} == {
        f"{key}.pem": bundle.fullchain for key, bundle in old.items()
    }
    assert {one.generation for one in machine.disk.ledger.refusals().values()} == {2}
    # The reload of the old ones is owed, also after a restart.
    assert machine.disk.ledger.owed() == {"web": {"a", "b"}}
    machine.start()
    stuck.unlink()
    machine.deploy.run()
    assert machine.traced() == ["check", "reload"]
    assert machine.disk.ledger.owed() == {}
    assert machine.disk.ledger.refusals().keys() == {"a", "b"}


@pytest.mark.parametrize("expired", [False, True])
def test_where_nothing_better_is_kept_the_files_stay_and_the_step_is_owed(machine: Machine, expired: bool) -> None:
    if expired:
        machine.publish(pairs("a"), 1)
        machine.now += timedelta(days=31)
    (machine.home / "stuck").touch()
    new = pairs("a")
    outcome = machine.publish(new, 3)
    assert outcome.wakes is not None
    assert 8 < outcome.wakes - time.monotonic() <= 10
    assert machine.files()["a.pem"] == new["a"].fullchain
    assert not machine.disk.ledger.refusals()["a"].fault.rolled_back
    machine.traced()
    machine.deploy.run()
    assert machine.traced() == []
    (machine.home / "stuck").unlink()
    machine.deploy.hurry()
    assert machine.deploy.run().well
    assert machine.serves("a") == new["a"].fullchain
    assert machine.disk.ledger.refusals() == {}


def test_a_command_that_hangs_at_one_place_does_not_keep_the_others_from_their_reload(tmp_path: Path) -> None:
    machine = Machine(tmp_path, timeout=1)
    machine.servers["mail"] = Server(place=Place(name="mail", reload="sleep 60"), goes_back=True)
    machine.start()
    machine.published = {"a": (pki.pair("a.test"), 1)}
    written = machine.write(["a"])
    key = "m"
    one = machine.placement(key, pki.pair("m.test"), 1)
    assert machine.disk.install([_at(one, "mail")]) == {}
    outcome = machine.deploy.run([*written, key])
    assert machine.traced() == ["check", "reload"]
    assert not outcome.well
    assert machine.disk.ledger.owed() == {"mail": {"m"}}


def _at(placement: Placement, place: str) -> Placement:
    return replace(placement, progress=Progress(leaf=Leaf(place=place)))


def test_what_stands_in_the_way_of_the_folder_of_kept_pairs_is_put_aside(machine: Machine) -> None:
    old = pairs("a")
    machine.publish(old, 1)
    before = machine.files()
    machine.home.joinpath("state/kept").symlink_to("/nowhere/at/all")
    machine.publish(pairs("a"), 2)
    assert machine.files() != before
    assert machine.kept() == 1


def test_what_is_kept_is_for_nobody_else_and_goes_with_its_certificate(machine: Machine) -> None:
    machine.publish(pairs("a", "b"), 1)
    machine.publish(pairs("a", "b"), 2)
    folder = machine.home / "state/kept"
    assert machine.kept() == 2
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    machine.disk.forget(["a"])
    assert machine.kept() == 1
    (folder / ("0" * 64)).write_text("of a key that is gone")
    (folder / f"{'0' * 64}.tmp").write_text("cut")
    machine.disk.tidy()
    assert machine.kept() == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_a_restart_ends_the_deployment(tmp_path: Path, when: str) -> None:
    """Whole old or whole new; in the end what is right is loaded, nothing is owed, and nothing is left behind."""
    old, new = pairs("a", "b"), pairs("a") | {"b": BAD}
    step = 0
    while _dies(tmp_path / str(step := step + 1), step, when, old, new):
        machine = Machine(tmp_path / str(step), quick=True)
        machine.published = {key: (bundle, 2) for key, bundle in new.items()}
        machine.start()
        _whole(machine, old, new)
        machine.deploy.run()
        _whole(machine, old, new)
        # By then everything that has failed may be tried again.
        machine.now += timedelta(minutes=1)
        machine.publish({key: new[key] for key in _unwritten(machine, new)}, 2)
        for key, bundle in {"a": new["a"], "b": old["b"]}.items():
            assert machine.serves(key) == machine.files()[f"{key}.pem"] == bundle.fullchain
            assert machine.files()[f"{key}.key"] == bundle.privkey
        assert machine.disk.ledger.owed() == {}
        assert set(machine.files()) == {"a.pem", "a.key", "b.pem", "b.key"}
        machine.disk.tidy()
        assert not list((machine.home / "state").rglob("*.tmp"))
        machine.opened.close()
    assert step > 40


def _dies(home: Path, step: int, when: str, old: Mapping[str, Bundle], new: Mapping[str, Bundle]) -> bool:
    machine = Machine(home, quick=True)
    machine.start()
    assert machine.publish(old, 1).well
    machine.opened.close()

    def deployment() -> None:
        machine.start()
        machine.publish(new, 2)

    return killed(deployment, step, when)


def _whole(machine: Machine, old: Mapping[str, Bundle], new: Mapping[str, Bundle]) -> None:
    files = machine.files()
    for key in old:
        there = Bundle(fullchain=files[f"{key}.pem"], privkey=files[f"{key}.key"])
        assert there in (old[key], new[key])


def _unwritten(machine: Machine, new: Mapping[str, Bundle]) -> Sequence[str]:
    """What the watch would write: what is published, is not in its files, and has not failed."""
    refusals = machine.disk.ledger.refusals()
    return [
        key
        for key, bundle in new.items()
        if machine.files()[f"{key}.pem"] != bundle.fullchain
        and (key not in refusals or is_due(refusals[key], machine.now))
    ]
