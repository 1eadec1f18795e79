"""What a linter cannot know about the house."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knit.app.queue import queue_in_memory
from knit.core.model.certificate import CertId
from knit.queue import messages
from workers.actors import Flows, declare

ROOT = Path(__file__).parents[1]
CLOCKS = re.compile(r"\b(datetime\.now|datetime\.utcnow|time\.time|date\.today)\(")


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", sources("knit/core", "knit/flows"), ids=lambda path: path.name)
def test_decisions_and_flows_ask_no_clock(path: Path) -> None:
    assert not CLOCKS.search(path.read_text())


@pytest.mark.parametrize("path", sources("knit", "workers", "scheduler"), ids=lambda path: path.name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if path.parent != ROOT / "knit" / "settings":
        assert "os.environ" not in path.read_text()
        assert "getenv" not in path.read_text()


@pytest.mark.parametrize("path", sources("knit/core", "knit/flows"), ids=lambda path: path.name)
def test_decisions_and_flows_catch_only_what_they_name(path: Path) -> None:
    handlers = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)]
    names = {ast.unparse(handler.type) if handler.type else "everything" for handler in handlers}
    assert not names & {"everything", "Exception", "BaseException"}


@pytest.mark.parametrize("path", sources("knit", "workers", "scheduler"), ids=lambda path: path.name)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    found = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not found & {"eval", "exec"}
    assert not re.search(r"\b(pickle|marshal|PickleEncoder|yaml\.load|mktemp)\b", path.read_text())


@pytest.mark.parametrize(
    "message",
    [
        messages.reconcile(),
        messages.reconcile(3),
        messages.renew(CertId(7)),
        messages.renew(CertId(7), tries=3),
        messages.publish(),
        messages.publish(CertId(7), tries=2),
        messages.poll(),
        messages.poll(3),
    ],
    ids=lambda message: message.actor_name,
)
def test_every_message_fits_its_actor(message: messages.Message) -> None:
    queue = queue_in_memory()
    nothing: Any = None
    flows = Flows(
        reconcile=nothing, renew=nothing, publish=nothing, poll=nothing, revoke=nothing, collect=nothing, clock=nothing
    )
    declare(queue, flows, nothing, nothing)
    actor = queue.broker.get_actor(message.actor_name)
    function: Callable[..., object] = actor.fn
    inspect.signature(function).bind(*message.args, **message.kwargs)
    assert actor.queue_name == message.queue_name


def test_messages_carry_ids_and_nothing_else() -> None:
    for message in (messages.reconcile(), messages.renew(CertId(7)), messages.publish(CertId(7)), messages.poll()):
        assert all(argument is None or type(argument) is int for argument in message.args)
        assert not message.kwargs
        assert not message.options
