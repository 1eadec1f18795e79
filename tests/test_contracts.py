"""The import contracts hold the rooms there are, and those that are not built yet, from their first file on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("relay", "broker", "api", "dashboard", "notify")
ADAPTERS = (
    "knit.store.database",
    "knit.valkey.connect",
    "knit.issuers.acme",
    "knit.dns.query",
    "knit.providers.registry",
    "knit.queue.redis",
)
ALLOWED = ("knit.flows.publish", "knit.ports.list", "knit.core.names", "knit.errors")


def judged(tree: Path, planted: dict[str, tuple[str, ...]]) -> str:
    """What the contracts say of a copy of knit with these modules in it, each with what it imports."""
    for folder in ("knit", "workers", "scheduler"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for module, imported in planted.items():
        path = tree / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text("".join(f"import {name}\n" for name in imported))
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=tree, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == bool("BROKEN" in done.stdout), done.stdout + done.stderr
    return done.stdout


def test_a_new_room_may_use_flows_ports_and_core(tmp_path: Path) -> None:
    rooms = {f"knit.{room}.first": ALLOWED for room in ROOMS if room != "notify"}
    notify = {
        "knit.notify.first": (*ALLOWED[1:], "knit.notify.second"),
        "knit.notify.second": (),
        "knit.app.opens": ("knit.notify.first",),
    }
    http = {"knit.api.serves": ("starlette",), "knit.relay.serves": ("aiohttp",)}
    said = judged(tmp_path, {**rooms, **notify, **http})
    assert "0 broken" in said


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    others = {room: tuple(f"knit.{other}.first" for other in ROOMS if other != room) for room in ROOMS}
    planted = {f"knit.{room}.first": (*ADAPTERS, *others[room]) for room in ROOMS}
    odd = {
        "knit.cli.planted": ("knit.store.database", "knit.valkey.connect"),
        "workers.planted": (
            "scheduler.main",
            "knit.providers.catalog",
            "knit.cli.app",
            "knit.node.loop",
            "knit.api.first",
        ),
        "scheduler.planted": ("workers.main", "knit.store.database", "knit.cli.app", "knit.relay.first"),
        "knit.app.planted": ("starlette",),
        "knit.valkey.planted": ("knit.settings.environment", "knit.queue.base"),
        "knit.core.planted": ("knit.ports.list",),
        "knit.ports.planted": ("knit.flows.publish",),
        "knit.flows.planted": ("knit.queue.messages", "knit.app.clock"),
        "knit.node.planted": ("knit.relay.first", "knit.tls.pairs"),
        "knit.tls.planted": ("knit.node.loop", "knit.app.clock", "knit.store.database"),
    }
    return judged(tmp_path_factory.mktemp("tree"), {**planted, **odd})


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("room", ROOMS)
def test_a_new_room_opens_no_adapter(said: str, room: str, adapter: str) -> None:
    assert f"knit.{room}.first -> {adapter} " in said


@pytest.mark.parametrize("room", ROOMS)
def test_a_new_room_knows_none_beside_it(said: str, room: str) -> None:
    beside = [other for other in ROOMS if other != room]
    assert all(f"knit.{room}.first -> knit.{other}.first " in said for other in beside)


@pytest.mark.parametrize(
    "edge",
    [
        "knit.cli.planted -> knit.store.database",
        "knit.cli.planted -> knit.valkey.connect",
        "workers.planted -> knit.providers.catalog",
        "workers.planted -> scheduler.main",
        "scheduler.planted -> workers.main",
        "scheduler.planted -> knit.store.database",
        "workers.planted -> knit.cli.app",
        "workers.planted -> knit.node.loop",
        "workers.planted -> knit.api.first",
        "scheduler.planted -> knit.cli.app",
        "scheduler.planted -> knit.relay.first",
        "knit.app.planted -> starlette",
        "knit.valkey.planted -> knit.settings.environment",
        "knit.valkey.planted -> knit.queue.base",
        "knit.core.planted -> knit.ports.list",
        "knit.ports.planted -> knit.flows.publish",
        "knit.flows.planted -> knit.queue.messages",
        "knit.flows.planted -> knit.app.clock",
        "knit.node.planted -> knit.relay.first",
        "knit.node.planted -> knit.tls.pairs",
        "knit.tls.planted -> knit.node.loop",
        "knit.tls.planted -> knit.app.clock",
        "knit.tls.planted -> knit.store.database",
    ],
)
def test_no_edge_leads_up_or_beside(said: str, edge: str) -> None:
    assert f"{edge} " in said
