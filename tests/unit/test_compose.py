"""What the compose file promises about its containers, read as text: by its indentation and its anchors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose" / "compose.yaml").read_text()
PROCFILE = (ROOT / "Procfile").read_text()


def blocks(text: str, indent: str) -> dict[str, str]:
    """The mappings at this depth, by key."""
    parts = re.split(rf"^{indent}([\w-]+):", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


TOP = blocks(COMPOSE, "")
SERVICES = blocks(TOP["services"], "  ")
ANCHORS = {
    match[1]: block
    for block in [*TOP.values(), *SERVICES.values()]
    if (match := re.match(r" &([\w-]+)\n", block)) is not None
}


def whole(block: str) -> str:
    """A service's text, with what it merges."""
    merged = re.findall(r"^\s+<<: \*([\w-]+)", block, flags=re.MULTILINE)
    return block + "".join(whole(ANCHORS[anchor]) for anchor in merged if anchor != "worker-environment")


def secrets(block: str) -> set[str]:
    """The secrets volumes a service mounts: its own list of volumes replaces a merged one."""
    own = set(re.findall(r"secrets-([\w-]+):/", block))
    return own or set(re.findall(r"secrets-([\w-]+):/", whole(block)))


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_read_only_without_rights_and_no_root(service: str) -> None:
    text = whole(SERVICES[service])
    assert "read_only: true" in text
    assert "cap_drop: [ALL]" in text
    assert '"no-new-privileges:true"' in text
    user = re.search(r'user: "?(\w+)', text)
    assert user is not None
    assert user[1] not in {"root", "0"}


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"setup"}))
def test_a_container_sees_its_own_secrets_only(service: str) -> None:
    shared = {"worker-control": "worker", "worker-renew": "worker", "valkey-replica": "replica"}
    assert secrets(SERVICES[service]) <= {shared.get(service, service)}


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"setup", "pebble", "challtestsrv"}))
def test_a_container_that_stays_is_asked_how_it_is(service: str) -> None:
    assert "healthcheck:" in whole(SERVICES[service])


@pytest.mark.parametrize("service", ["worker-control", "worker-renew"])
def test_a_worker_is_started_as_in_the_procfile(service: str) -> None:
    command = re.search(r"^    command: (\[.*\])$", SERVICES[service], flags=re.MULTILINE)
    assert command is not None
    in_compose = [re.sub(r"\$\{.*\}", "N", word) for word in json.loads(command[1])]
    line = re.search(rf"^{service}: (.*)$", PROCFILE, flags=re.MULTILINE)
    assert line is not None
    in_procfile = [re.sub(r"\$\{.*\}", "N", word) for word in line[1].split()]
    assert in_compose == in_procfile[in_procfile.index("python") :]
    settings = [word.partition("=")[0] for word in in_procfile[: in_procfile.index("python")]]
    assert all(setting in COMPOSE for setting in settings)


def test_nodes_share_no_network_with_the_centre() -> None:
    assert "networks: [nodes]" in SERVICES["node"]
    assert all("nodes" not in whole(SERVICES[name]).rpartition("networks:")[2] for name in ("postgres", "scheduler"))
    assert re.findall(r"networks: \[(.*)\]", SERVICES["valkey"]) == ["centre, replication"]


def test_no_password_is_in_the_tree() -> None:
    for path in (ROOT / "compose").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert not re.search(r"requirepass|POSTGRES_PASSWORD:|PRIVATE KEY-----|://\w*:\w+@", path.read_text()), path


def test_every_volume_that_is_mounted_is_declared_and_made_by_the_image() -> None:
    declared = set(blocks(TOP["volumes"], "  "))
    mounted = set(re.findall(r"[\"\s](secrets-[\w-]+):/", TOP["services"] + TOP["x-worker"]))
    assert mounted == {name for name in declared if name.startswith("secrets-")}
    image = (ROOT / "compose" / "Containerfile").read_text()
    made = re.search(r"for name in ([\w ]+);", image)
    assert made is not None
    assert {f"secrets-{name}" for name in made[1].split()} == mounted
