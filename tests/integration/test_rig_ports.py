"""Free ports: whose they are while nothing listens on them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rig import ports

NARROW = """
import sys
from rig import ports
ports.LOWEST, ports.HIGHEST = {lowest}, {highest}
print(*(ports.free_port() for _ in range({number})), flush=True)
sys.stdin.read()
"""
"""A program that draws some ports of a narrow range and keeps them until its input ends."""


def drawing(lowest: int, highest: int, number: int) -> subprocess.Popen[str]:
    program = NARROW.format(lowest=lowest, highest=highest, number=number)
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def drawn(program: subprocess.Popen[str]) -> set[int]:
    assert program.stdout is not None
    return {int(port) for port in program.stdout.readline().split()}


def test_no_port_is_given_to_two_processes_though_neither_listens() -> None:
    with drawing(14_000, 14_039, 15) as one, drawing(14_000, 14_039, 15) as other:
        first, second = drawn(one), drawn(other)
    assert len(first) == len(second) == 15
    assert not first & second


def test_the_ports_of_a_process_that_was_killed_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "LOWEST", 14_040)
    monkeypatch.setattr(ports, "HIGHEST", 14_049)
    with drawing(14_040, 14_049, 8) as gone:
        held = drawn(gone)
        assert {ports.free_port(), ports.free_port()} == set(range(14_040, 14_050)) - held
        gone.kill()
    assert ports.free_port() in held
