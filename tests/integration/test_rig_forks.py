"""A program that is forked is what it would be if it had been started: see rig/forks.py."""

# ruff: noqa: T201 -- programs print

from __future__ import annotations

import atexit
import importlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from rig import forks
from rig.forks import Ended, ForkedProcess
from rig.installation import Installation
from rig.process import RigError

MUCH = 1_000_000
"""More than a pipe holds."""


def say_all() -> None:
    print(sys.argv, Path.cwd(), sorted(os.environ), os.environ["GIVEN"], repr(sys.stdin.read()))
    print(os.getpid() == os.getsid(0), os.getppid() == os.getpid())


def say_much() -> None:
    print("o" * MUCH)
    print("e" * MUCH, file=sys.stderr)


def exit_with_a_code() -> None:
    sys.exit(int(sys.argv[1]))


def exit_with_words() -> None:
    sys.exit("words")


def fail() -> None:
    raise ValueError(sys.argv[1])


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def open_files() -> None:
    print(len(list(Path("/proc/self/fd").iterdir())))


def leave_work_to_the_end() -> None:
    def go_on() -> None:
        time.sleep(0.2)
        print("thread")

    atexit.register(print, "exit function")
    threading.Thread(target=go_on).start()
    print("main")


def wait_for_a_signal() -> None:
    def answer(number: int, _frame: object) -> None:
        print(f"told by {number}", flush=True)
        sys.exit(7)

    signal.signal(signal.SIGTERM, answer)
    print("ready", flush=True)
    signal.pause()


def import_what_looks_around() -> None:
    sys.path.insert(0, str(Path.cwd()))
    print(importlib.import_module("looks_around").FOUND)


def say_prefetch() -> None:
    from rig.programs import _as_this_environment_has_it

    _as_this_environment_has_it()
    import dramatiq
    from dramatiq.brokers.stub import StubBroker

    print(dramatiq.Worker(StubBroker()).queue_prefetch)


def log_a_line() -> None:
    logging.getLogger("nobody").warning("nothing was set up here")


def run(main: object, *words: str, directory: Path, seconds: float = 20, **more: str) -> Ended:
    environment = {**os.environ, **more}
    assert callable(main)
    return forks.run(main, ["program", *words], environment=environment, directory=directory, seconds=seconds)


def test_arguments_folder_environment_and_streams_are_its_own(tmp_path: Path) -> None:
    environment = {"GIVEN": "ü here", "PATH": os.environ["PATH"]}
    ended = forks.run(say_all, ["program", "a", "b c"], environment=environment, directory=tmp_path, seconds=20)
    first, second = ended.out.splitlines()
    assert first == f"['program', 'a', 'b c'] {tmp_path} ['GIVEN', 'PATH'] ü here ''"
    assert second == "True False"
    assert (ended.code, ended.err) == (0, "")


def test_what_it_says_may_be_more_than_a_pipe_holds(tmp_path: Path) -> None:
    assert run(say_much, directory=tmp_path) == Ended(code=0, out="o" * MUCH + "\n", err="e" * MUCH + "\n")


def test_it_ends_with_the_code_that_it_gives(tmp_path: Path) -> None:
    assert [run(exit_with_a_code, str(code), directory=tmp_path).code for code in (0, 1, 2, 130)] == [0, 1, 2, 130]
    assert run(exit_with_words, directory=tmp_path) == Ended(code=1, out="", err="words\n")
    assert run(kill_itself, directory=tmp_path) == Ended(code=-signal.SIGKILL, out="", err="")


def test_what_it_does_not_catch_is_a_traceback(tmp_path: Path) -> None:
    ended = run(fail, "because", directory=tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert "Traceback" in ended.err
    assert "ValueError: because" in ended.err


def test_it_holds_nothing_open_that_belongs_to_who_started_it(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    # The three streams, and the folder that is being listed.
    assert run(open_files, directory=tmp_path).out == "4\n"
    os.close(reads)
    os.close(writes)


def test_its_threads_end_before_its_exit_functions_run(tmp_path: Path) -> None:
    assert run(leave_work_to_the_end, directory=tmp_path).out.split("\n") == ["main", "thread", "exit function", ""]


def test_one_that_is_late_is_ended_and_what_it_said_is_told(tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r"program still ran after 3 s; it said: ready"):
        run(wait_for_a_signal, directory=tmp_path, seconds=3)


def test_one_that_stays_answers_signals_with_a_pid_and_a_group_of_its_own(tmp_path: Path) -> None:
    process = ForkedProcess(
        name="waits", main=wait_for_a_signal, command=["program"], output=tmp_path / "log", directory=tmp_path
    )
    process.start(lambda: "ready" in process.text())
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    process.pause()
    process.send(signal.SIGTERM)
    with pytest.raises(RigError, match="still runs"):
        process.wait(seconds=0.2)
    process.resume()
    assert process.wait(seconds=10) == 7
    assert process.text() == f"ready\ntold by {signal.SIGTERM:d}\n"
    process.start(lambda: process.text().count("ready") == 2)
    assert process.kill() == -signal.SIGKILL


def test_a_module_that_looks_at_its_environment_when_it_is_imported_sees_the_programs_own(tmp_path: Path) -> None:
    (tmp_path / "looks_around.py").write_text("import os\nFOUND = os.environ.get('KNIT_LOOKED_AT')\n")
    found = [run(import_what_looks_around, directory=tmp_path, KNIT_LOOKED_AT=text).out for text in ("one", "two")]
    assert found == ["one\n", "two\n"]


def test_what_dramatiq_read_when_it_was_imported_is_read_again(tmp_path: Path) -> None:
    found = [run(say_prefetch, directory=tmp_path, dramatiq_queue_prefetch=text).out for text in ("3", "5")]
    assert found == ["3\n", "5\n"]


def test_no_logging_of_another_program_is_left_in_it(tmp_path: Path) -> None:
    assert run(log_a_line, directory=tmp_path).err == "nothing was set up here\n"


@pytest.mark.parametrize(
    ("variable", "like_ours"),
    [
        ("KNIT_DB_URL", True),
        ("PYTHONPATH", True),
        ("PYTHONUTF8", False),
        ("LC_ALL", False),
        ("LANG", False),
        ("LANGUAGE", False),
        ("TMPDIR", False),
        ("OPENSSL_CONF", False),
    ],
)
def test_an_environment_that_the_interpreter_must_see_is_not_like_ours(variable: str, *, like_ours: bool) -> None:
    assert forks.is_like_ours(os.environ)
    assert forks.is_like_ours({**os.environ, variable: "C.other"}) is like_ours
    assert forks.is_like_ours({name: text for name, text in os.environ.items() if name != variable}) is (
        like_ours or variable not in os.environ
    )


def test_the_procfiles_processes_are_forked_with_their_own_words(tmp_path: Path) -> None:
    """A database that is not there ends each; what the shell would fill in is filled in."""
    settings = {
        "KNIT_QUEUE_URL": "redis://127.0.0.1:1/0",
        "KNIT_VALKEY_URL": "redis://127.0.0.1:2/0",
        "KNIT_DB_URL": "postgresql://127.0.0.1:1/none",
    }
    with Installation(settings={**settings, "KNIT_RENEW_CONCURRENCY": "3"}, forks=True) as knit:
        started = {name: knit.start(name) for name in ("scheduler", "worker-control", "worker-renew")}
        for process in started.values():
            assert isinstance(process, ForkedProcess)
            process.wait(seconds=60)
        renew = started["worker-renew"]
        assert (renew.command[-5:-1], renew.environment["dramatiq_queue_prefetch"]) == (
            ["--threads", "3", "--skip-logging", "--worker-shutdown-timeout"],
            "3",
        )
        for name, words in {"scheduler": "knit scheduler", "worker-control": "knit worker"}.items():
            assert f"{words}: " in started[name].text()
        assert "knit worker: " in renew.text()
        assert {process.returncode for process in started.values()} == {1}
