"""A small DNS of our own, and a look at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from knit.core.model.challenge import Challenge, Record
from knit.dns.delegation import DnsDelegation, Looking
from rig.dns_world import World
from rig.ports import free_port


@pytest.fixture
def world() -> Iterator[World]:
    with World(free_port()).running() as world:
        yield world


@pytest.fixture
def delegation(world: World) -> Callable[..., DnsDelegation]:
    """Makes a delegation that looks at this world; keywords as those of Looking."""

    def make(**looking: object) -> DnsDelegation:
        settings = {"resolvers": (f"127.0.0.1:{world.port}",), "timeout": 0.5, "authority_port": world.port}
        return DnsDelegation(Looking(**(settings | looking)), time.sleep)  # type: ignore[arg-type] # keywords of a record

    return make


def challenge(identifier: str, value: str = "wanted") -> Challenge:
    return Challenge(identifier=identifier, value=value, token="token", key_authorization="token.thumb")


def record(value: str, label: str = "www", zone: str = "knit.example") -> Record:
    name = f"{label}.{zone}"
    return Record(challenge=challenge(name, value), fqdn=f"_acme-challenge.{name}", zone=zone)
