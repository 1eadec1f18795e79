"""Two hundred certificates whose challenges are all delegated to one zone, twenty-five at a time."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from rig.dns_world import World
from rig.installation import Installation
from rig.knot import Knot
from rig.ports import free_port
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.acceptance import local_dns
from tests.acceptance.scene import ORIGINAL, ZONE, Scene, Servers
from tests.fix_rig import running
from tests.integration.dns.hosted import HostedDesec, Rate

COUNT = 200
TARGET = "acme.example"
SHARED = f"shared.{TARGET}"
NAMES = tuple(f"n{number:03}.{ZONE}" for number in range(COUNT))
PER_SECOND = 20
"""What the provider allows; knit can do several times as much."""

pytestmark = pytest.mark.timeout(240)

ROW = """
insert into knit_certs (domains, provider, valkey_key, cert_path, key_path)
values (%(name)s, %(provider)s, 'certs:' || %(name)s, '/etc/tls/' || %(name)s || '.crt',
    '/etc/tls/' || %(name)s || '.key')
"""


def target(number: int) -> str:
    """Every second certificate shares one name with a hundred others; the rest have a name each."""
    return SHARED if number % 2 else f"n{number:03}.{TARGET}"


def insert(scene: Scene, provider: str) -> None:
    with psycopg.connect(scene.servers.database) as connection:
        connection.execute(ORIGINAL)
        connection.cursor().executemany(ROW, [{"name": name, "provider": provider} for name in NAMES])


def issue(scene: Scene, env: dict[str, str]) -> float:
    """Run two workers with 25 renewals in flight between them until all is published; gives the seconds."""
    scene.knit.start("scheduler", KNIT_RENEW_INTERVAL="5s", **env)
    local_dns.start_worker(scene, "control", threads=4, env=env)
    for threads in (13, 12):
        local_dns.start_worker(scene, "renew", threads=threads, env=env)
    scene.wait_for_schema()
    return scene.knit.wait_published(COUNT, seconds=180)


def all_is_well(scene: Scene) -> None:
    """One order each, nothing failed for good, no record of ours waits to be removed."""
    counts = scene.scripted.counts()["names"]
    assert {name: (count["orders"], count["finalized"]) for name, count in counts.items()} == dict.fromkeys(
        NAMES, (1, 1)
    )
    waiting = "select count(*) from knit_challenges where removed_at is null"
    wait_until(lambda: bool(scene.sql(waiting)[0][0] == 0), "every record removed", seconds=30)
    assert "Traceback" not in scene.knit.logs()


def stage(servers: Servers, **more: str) -> Iterator[Scene]:
    servers.valkey.flush()
    servers.queue.flush()
    settings = servers.settings() | more
    settings.pop("KNIT_DNS_PROPAGATION_WAIT")
    with Installation(settings=settings) as knit:
        yield Scene(servers=servers, knit=knit)
        print("\n".join(f"--- {process.name}\n{process.text()[-5000:]}" for process in knit.processes))  # noqa: T201


@pytest.fixture
def updated(database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Iterator[Scene]:
    """Knot holds both zones and takes signed updates."""
    aliases = "\n".join(f"_acme-challenge.n{number:03} IN CNAME {target(number)}." for number in range(COUNT))
    for knot in running(lambda: Knot(ZONE, TARGET, records=aliases)):
        with ScriptedCA(dns_server=knot.address, default={"validation": "dns"}) as ca:
            yield from stage(Servers(ca=ca, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey))


def test_by_dynamic_update_no_value_is_lost_and_none_is_left(updated: Scene) -> None:
    knot = updated.servers.dns
    insert(updated, "dnsupdate")
    issue(updated, {"RIG_DNS_PORT": str(knot.port)})
    all_is_well(updated)
    assert updated.sql("select id from knit_attempts where error is not null") == []
    assert [name for name in {target(number) for number in range(COUNT)} if knot.txt(name)] == []


@pytest.fixture
def world() -> Iterator[World]:
    """Both zones on one server, so that a CA which asks only there can follow the aliases."""
    with World(free_port()).running() as world:
        zone = world.zone(ZONE)
        for number in range(COUNT):
            zone.add(f"_acme-challenge.n{number:03}.{ZONE}", "CNAME", f"{target(number)}.")
        world.zone(TARGET)
        yield world


@pytest.fixture
def desec(world: World) -> Iterator[HostedDesec]:
    """Whole record sets are all it knows, and it counts requests."""
    desec = HostedDesec(world, Rate(most=PER_SECOND, seconds=1))
    desec.add_zone(TARGET)
    desec.seed(TARGET, SHARED, "foreign")
    with desec.serving():
        yield desec
    assert desec.complaints == []


@pytest.fixture
def hosted(
    world: World, desec: HostedDesec, knot: Knot, database_url: str, valkey: Valkey, queue_valkey: Valkey
) -> Iterator[Scene]:
    """The target zone is at deSEC. (The scene has a Knot, which nobody asks.)"""
    resolver = f"127.0.0.1:{world.port}"
    with ScriptedCA(dns_server=f"127.0.0.2:{world.port}", default={"validation": "dns"}) as ca:
        servers = Servers(ca=ca, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
        yield from stage(servers, KNIT_DNS_RESOLVERS=resolver, DESEC_TOKEN=desec.token, DESEC_PROPAGATION_TIMEOUT="20")


def busiest_second(instants: list[float]) -> int:
    return max(sum(1 for later in instants[at:] if later < instants[at] + 1) for at in range(len(instants)))


def test_by_whole_record_sets_no_value_is_lost_and_the_provider_s_rate_is_kept(
    hosted: Scene, world: World, desec: HostedDesec
) -> None:
    insert(hosted, "desec")
    issue(hosted, {"RIG_DNS_PORT": str(world.port), "RIG_DESEC_URL": desec.url})
    all_is_well(hosted)
    assert desec.values(SHARED) == ["foreign"]
    assert [name for name in {target(number) for number in range(COUNT)} - {SHARED} if desec.values(name)] == []
    assert len(desec.writes) >= 2 * COUNT
    assert busiest_second(desec.writes) <= PER_SECOND
    assert desec.throttled < COUNT / 2, "who has been sent away comes back alone"
