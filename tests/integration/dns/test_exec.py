"""The external program, with real programs."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knit.app.locks import KeyedLocks
from knit.core.model.challenge import Challenge, Record
from knit.dns.delegation import DnsDelegation
from knit.dns.pauses import Pauses
from knit.dns.prover import Dns01, Shared
from knit.errors import Interrupted, Misconfigured, Refused, Unreachable
from knit.ports.solving import Timing
from knit.providers import exec as program
from knit.providers.base import Runtime, Values
from rig.dns_world import World
from tests.contract.providers.test_dns01 import in_turn
from tests.integration.acme.parties import Notes
from tests.integration.dns.conftest import challenge

RUNTIME = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
RECORD = Record(challenge=challenge("example.org", "-value"), fqdn="_acme-challenge.example.org", zone="example.org")
TIMING = Timing(timeout=60, interval=2, ttl=120)


def script(folder: Path, body: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def recorder(folder: Path) -> str:
    return script(folder, f'for argument; do printf "%s\\n" "$argument"; done >> {folder}/calls; env > {folder}/env')


def solver(given: dict[str, str]) -> program.Exec:
    built = program.PROVIDER.solver(Values(given), RUNTIME)
    assert isinstance(built, program.Exec)
    return built


class Everything:
    """A DNS that shows everything at once, each name in the zone example.org."""

    def locate(self, wanted: Challenge) -> Record:
        return Record(challenge=wanted, fqdn=wanted.name, zone="example.org")

    def wait_visible(self, records: Sequence[Record], *, timeout: float, interval: float) -> None: ...


def alive(pid: int) -> bool:
    """Whether it runs; a dead process that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_program_is_called_as_lego_calls_it(tmp_path: Path) -> None:
    runs = solver({"EXEC_PATH": recorder(tmp_path)})
    runs.present(RECORD)
    runs.cleanup(RECORD, None)
    assert (tmp_path / "calls").read_text().split("\n")[:-1] == [
        *("present", "_acme-challenge.example.org.", "-value"),
        *("cleanup", "_acme-challenge.example.org.", "-value"),
    ]


def test_no_folder_for_temporary_files_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    monkeypatch.setattr("tempfile._get_default_tempdir", nowhere)
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(Refused, match="no such zone"):
        solver({"EXEC_PATH": script(tmp_path, "echo no such zone; exit 3")}).present(RECORD)


def test_a_delegated_challenge_reaches_the_program_under_its_final_name(
    tmp_path: Path, world: World, delegation: Callable[..., DnsDelegation]
) -> None:
    world.zone("example.org").add("_acme-challenge.example.org", "CNAME", "x.middle.test.")
    world.zone("middle.test", "127.0.0.3").add("x.middle.test", "CNAME", "y.acme.test.")
    world.zone("acme.test", "127.0.0.4").add("y.acme.test", "TXT", '"-value"')
    shared = Shared(delegation=delegation(), exclusive=KeyedLocks())
    prover = Dns01("exec", solver({"EXEC_PATH": recorder(tmp_path)}), Notes(), shared)
    with prover.proving([challenge("example.org", "-value")]):
        assert (tmp_path / "calls").read_text().split() == ["present", "y.acme.test.", "-value"]
    assert (tmp_path / "calls").read_text().split()[3:] == ["cleanup", "y.acme.test.", "-value"]


def test_raw_mode_passes_domain_token_and_key_authorization(tmp_path: Path) -> None:
    solver({"EXEC_PATH": recorder(tmp_path), "EXEC_MODE": "RAW"}).present(RECORD)
    assert (tmp_path / "calls").read_text().split() == ["present", "--", "example.org", "token", "token.thumb"]


def test_the_program_sees_the_environment_but_none_of_knit_s_settings(tmp_path: Path) -> None:
    given = {"EXEC_PATH": recorder(tmp_path), "KNIT_DB_URL": "postgres://secret", "TOKEN": "a", "TOKEN__WEST": "b"}
    program.PROVIDER.solver(Values(given, "west"), RUNTIME).present(RECORD)
    seen = (tmp_path / "env").read_text().splitlines()
    assert "TOKEN=b" in seen
    assert not any(line.startswith("KNIT_") for line in seen)


def test_a_failure_tells_the_status_and_what_the_program_said(tmp_path: Path) -> None:
    runs = solver({"EXEC_PATH": script(tmp_path, "echo zone is locked; echo by admin >&2; exit 3")})
    with pytest.raises(Refused, match="status 3; it said: zone is locked by admin"):
        runs.present(RECORD)


def test_of_much_output_the_end_is_told(tmp_path: Path) -> None:
    runs = solver({"EXEC_PATH": script(tmp_path, "seq 1 100000; echo the end; exit 1")})
    with pytest.raises(Refused) as caught:
        runs.present(RECORD)
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 800


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    body = f"trap '' TERM; (trap '' TERM; echo $$ > {tmp_path}/parent; exec sleep 60) & echo $! > {tmp_path}/pid; wait"
    runs = program.Exec(
        program.Program(path=script(tmp_path, body), environment=dict(os.environ)), TIMING, RUNTIME, deadline=0.5
    )
    with pytest.raises(Unreachable, match="was killed"):
        runs.present(RECORD)
    child, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_a_child_left_in_the_background_does_not_hold_us_up(tmp_path: Path) -> None:
    started = time.monotonic()
    solver({"EXEC_PATH": script(tmp_path, "sleep 60 & exit 0")}).present(RECORD)
    assert time.monotonic() - started < 5


def test_a_stop_lets_a_short_program_finish(tmp_path: Path) -> None:
    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    runtime = Runtime(clock=RUNTIME.clock, sleep=stopping)
    given = {"EXEC_PATH": script(tmp_path, f"sleep 0.5; touch {tmp_path}/done")}
    program.PROVIDER.solver(Values(given), runtime).cleanup(RECORD, None)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "EXEC_PATH"),
        ({"EXEC_PATH": "/does/not/exist"}, "EXEC_PATH"),
        ({"EXEC_PATH": "/etc/passwd"}, "EXEC_PATH"),
        ({"EXEC_PATH": "/bin/true", "EXEC_MODE": "COOKED"}, "EXEC_MODE"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        solver(given)


def test_the_program_s_environment_never_shows(tmp_path: Path) -> None:
    given = {"EXEC_PATH": recorder(tmp_path), "TOKEN": "canary"}
    assert "canary" not in json.dumps(repr(vars(solver(given))))


def test_apex_and_wildcard_are_proved_one_after_the_other_with_lego_s_pause(tmp_path: Path) -> None:
    slept: list[float] = []
    shared = Shared(delegation=Everything(), exclusive=KeyedLocks(), pauses=Pauses(slept.append))
    prover = Dns01("exec", solver({"EXEC_PATH": recorder(tmp_path)}), Notes(), shared)
    for turn in prover.rounds([challenge("example.org", "apex"), challenge("example.org", "wildcard")]):
        with prover.proving(turn):
            pass
    calls = (tmp_path / "calls").read_text().split()
    assert list(zip(calls[::3], calls[2::3], strict=True)) == [
        *(("present", "apex"), ("cleanup", "apex")),
        *(("present", "wildcard"), ("cleanup", "wildcard")),
    ]
    assert slept == [pytest.approx(60, abs=2)]


def test_two_programs_never_work_on_one_zone_at_once(tmp_path: Path) -> None:
    body = f"mkdir {tmp_path}/busy || touch {tmp_path}/overlapped; sleep 0.05; rmdir {tmp_path}/busy"
    runs, locks = solver({"EXEC_PATH": script(tmp_path, body)}), KeyedLocks()
    shared = Shared(delegation=Everything(), exclusive=locks, pauses=Pauses(lambda _: None))

    def certificate(number: int) -> None:
        with Dns01("exec", runs, Notes(), shared).proving([challenge(f"{number}.example.org", str(number))]):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(in_turn(certificate), range(6)))
    assert not (tmp_path / "overlapped").exists()


def test_a_program_may_take_as_long_as_the_user_says(tmp_path: Path) -> None:
    given = {"EXEC_PATH": script(tmp_path, "sleep 60"), "EXEC_TIMEOUT": "1"}
    with pytest.raises(Unreachable, match="was killed after 1 s"):
        solver(given).present(RECORD)
    waits = solver({**given, "EXEC_TIMEOUT": "0"})
    assert waits._deadline == math.inf
    assert solver({"EXEC_PATH": given["EXEC_PATH"]})._deadline == 600
