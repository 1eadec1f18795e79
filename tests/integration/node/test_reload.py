from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from knit.errors import Transient
from knit.node.reload import MAX_OUTPUT, Reload
from knit.node.signals import Signals
from rig.valkey import Valkey
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, until


def never() -> bool:
    return False


def run(command: str, timeout: float = 5) -> tuple[str | None, str]:
    return Reload(command=command, timeout=timeout, environment=dict(os.environ)).run(never)


def gone(pid_file: Path) -> bool:
    stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


def test_a_failed_reload_is_repeated_later_and_only_until_it_succeeds(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", pki.pair())
    allowed = node.reloads.with_name("allowed")
    node = node.with_settings(reload_cmd=f"echo try >> {node.reloads}; echo no such service; test -e {allowed}")
    loop = node.start()
    assert not loop.once()
    failed = next(record for record in caplog.records if record.message.startswith("reload failed"))
    assert failed.__dict__["cause"] == "exited with status 1"
    assert failed.__dict__["output"] == "no such service"
    assert not loop._pass(sweep=False)
    assert node.reload_count == 1
    loop._deploy.hurry()
    assert not loop._pass(sweep=False)
    assert node.reload_count == 2
    allowed.touch()
    loop._deploy.hurry()
    assert loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert node.reload_count == 3


def test_waits_between_failed_reloads_grow_up_to_ten_minutes(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    loop = node.with_settings(reload_cmd="false").start()
    loop._look(sweep=True)
    waits = []
    for _ in range(9):
        loop._deploy.hurry()
        assert not loop._went_on()
        assert loop._wakes is not None
        waits.append(round(loop._wakes - time.monotonic()))
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


@pytest.mark.parametrize(("reload_in", "least", "most"), [(0.6, 0.5, 5), (-1.0, 0.0, 1.5), (3600.0, 1.9, 8)])
def test_a_node_that_owes_a_reload_waits_until_it_is_tried_again(
    node: Node, publisher: Publisher, reload_in: float, least: float, most: float
) -> None:
    """Neither longer than the poll, nor not at all."""
    publisher.pair("cert:a", pki.pair())
    loop = node.with_settings(reload_cmd="false", watch_interval=timedelta(seconds=2)).start()
    assert not loop.once()
    loop._hints.close()
    began = time.monotonic()
    loop._wakes = began + reload_in
    loop._wait(began)
    assert least <= time.monotonic() - began <= most


def test_an_owed_reload_survives_a_restart_and_comes_first_thing(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert not node.with_settings(reload_cmd="false").once()
    assert node.once()
    assert node.reload_count == 1
    assert node.once()
    assert node.reload_count == 1


def test_an_owed_reload_does_not_wait_for_valkey(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert not node.with_settings(reload_cmd="false").once()
    assert not node.with_settings(valkey_url="redis://127.0.0.1:1").once()
    assert node.reload_count == 1


def test_without_a_command_nothing_is_owed(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair())
    assert node.with_settings(reload_cmd=None).once()
    assert node.once()
    assert node.reload_count == 0


def test_a_reload_that_hangs_is_killed_with_all_it_started(node: Node, publisher: Publisher, tmp_path: Path) -> None:
    publisher.pair("cert:a", pki.pair())
    pid_file = tmp_path / "pid"
    command = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {pid_file}; sleep 60; sleep 60' & wait; sleep 60"
    started = time.monotonic()
    assert not node.with_settings(reload_cmd=command, reload_timeout=timedelta(seconds=1)).once()
    assert 1 <= time.monotonic() - started < 8
    until(lambda: gone(pid_file))


def test_a_daemon_left_behind_neither_blocks_nor_fails_the_reload() -> None:
    started = time.monotonic()
    assert run("sleep 7 & echo done") == (None, "done")
    assert time.monotonic() - started < 6


@pytest.mark.timeout(20)
def test_a_daemon_left_behind_that_never_stops_talking_does_not_hold_the_node(tmp_path: Path) -> None:
    talker = tmp_path / "talker"
    failure, output = run(f"yes & echo $! > {talker}")
    os.kill(int(talker.read_text()), signal.SIGKILL)
    assert failure is None
    assert len(output) <= MAX_OUTPUT


def test_a_stop_during_a_step_that_fails_is_not_forgotten() -> None:
    signals = Signals()

    def step() -> None:
        with signals.shield():
            signals._received(signal.SIGTERM, None)
            raise Transient("the disk is full")

    with pytest.raises(SystemExit):
        step()


def test_a_flood_of_output_is_cut() -> None:
    failure, output = run("head -c 5000000 /dev/zero | tr '\\0' x; exit 3")
    assert failure == "exited with status 3"
    assert len(output) == MAX_OUTPUT


def test_a_command_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    assert run(f"exec >&- 2>&-; sleep 0.5; touch {tmp_path}/done") == (None, "")
    assert (tmp_path / "done").exists()


def test_a_command_ended_by_a_signal_says_so() -> None:
    assert run("kill -9 $$")[0] == "was ended by signal 9"


def test_the_command_sees_the_environment_without_knit_s_own(node: Node, publisher: Publisher, tmp_path: Path) -> None:
    publisher.pair("cert:a", pki.pair())
    seen = tmp_path / "seen"
    process = node.with_settings(reload_cmd=f"env > {seen}").process("--once", MARKER="yes")
    assert process.wait(20) == 0
    variables = seen.read_text()
    assert "MARKER=yes" in variables
    assert "KNIT_" not in variables
    assert node.settings.valkey_url not in variables


def test_what_another_process_wrote_beside_the_daemon_is_reloaded_for(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    loop = node.start()
    assert loop.once()
    publisher.pair("cert:a", pki.pair(), generation=2)
    by_hand = Node(
        folder=node.folder, settings=node.settings, reloads=tmp_path / "elsewhere", opened=ExitStack()
    ).with_settings(state_dir=str(tmp_path / "by-hand"), reload_cmd=None)
    assert by_hand.once()
    assert node.reload_count == 1
    assert loop._pass(sweep=False)
    assert loop._pass(sweep=False)
    assert node.reload_count == 2


@pytest.mark.parametrize("running", [True, False])
def test_what_a_person_copied_into_place_is_reloaded_for(node: Node, publisher: Publisher, running: bool) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    loop = node.start()
    assert loop.once()
    renewed = pki.pair()
    (node.folder / "www.pem").write_bytes(renewed.fullchain)
    (node.folder / "www.key").write_bytes(renewed.privkey)
    publisher.pair("cert:a", renewed, generation=2)
    if running:
        assert loop._pass(sweep=False)
    assert node.once()
    assert node.once()
    assert node.reload_count == 2


def test_pairs_that_were_there_before_the_first_start_are_reloaded_for_once(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    (node.folder / "www.pem").write_bytes(bundle.fullchain)
    (node.folder / "www.key").write_bytes(bundle.privkey)
    publisher.pair("cert:a", bundle)
    for _ in range(3):
        assert node.once()
    assert node.reload_count == 1


def test_a_new_generation_of_the_same_bytes_owes_nothing(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    for generation in (1, 2, 3):
        publisher.pair("cert:a", bundle, generation=generation)
        assert node.once()
    assert node.reload_count == 1


def test_a_failing_reload_waits_longer_each_time_also_while_valkey_is_away(
    node: Node, publisher: Publisher, own_valkey: Valkey
) -> None:
    other = Publisher(own_valkey.url, node.folder)
    other.pair("cert:a", pki.pair())
    other.link.close()
    node = node.with_settings(valkey_url=own_valkey.url, reload_cmd=f"echo tried >> {node.reloads}; exit 1")
    loop = node.start()
    began = time.monotonic()
    assert not loop.once()
    # To stop the server may take seconds by itself.
    own_valkey.stop()
    for _ in range(4):
        assert not loop._pass(sweep=False)
    assert node.reload_count <= 1 + (time.monotonic() - began) / 5
