"""A unit gives a node what it needs, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knit.core.model.places import Content, FileSpec, NodeFile, Place
from knit.core.unit import Owners, Service, commands_of, folders_of, owners_of, unit

PLAIN = Service(
    command=("/opt/knit/bin/knit", "watch"),
    environment_file="/etc/knit/node.env",
    state_dir="/var/lib/knit",
    folders=("/etc/ssl/knit",),
    owners=Owners(),
    runs=("systemctl reload nginx",),
)


def lines(**changes: object) -> list[str]:
    return unit(replace(PLAIN, **changes)).splitlines()  # type: ignore[arg-type]


def test_a_plain_node_writes_its_folders_and_has_no_capability() -> None:
    made = lines()
    assert "ProtectSystem=strict" in made
    assert [line for line in made if line.startswith("ReadWritePaths")] == ["ReadWritePaths=-/etc/ssl/knit"]
    assert "CapabilityBoundingSet=" in made
    assert "ProtectHome=yes" in made
    assert "PrivateTmp=yes" in made
    assert "StateDirectory=knit" in made


@pytest.mark.parametrize(
    ("owners", "capabilities"),
    [
        (Owners(groups=True), "CAP_CHOWN"),
        (Owners(users=True), "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER"),
    ],
)
def test_capabilities_are_for_owners_and_groups_that_have_to_change(owners: Owners, capabilities: str) -> None:
    assert f"CapabilityBoundingSet={capabilities}" in lines(owners=owners)


@pytest.mark.parametrize(
    "run", ["nginx -t", "/usr/sbin/nginx -t && systemctl reload nginx", "if nginx -t; then true; fi", "(X=1 nginx -t)"]
)
def test_a_check_that_opens_more_than_a_node_does_gets_it(run: str) -> None:
    made = lines(runs=(run,))
    assert "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE" in made
    assert "ReadWritePaths=-/var/log/nginx" in made


@pytest.mark.parametrize("run", ["systemctl reload nginx", "echo nginx -t", "haproxy -c -f /etc/haproxy/haproxy.cfg"])
def test_a_program_that_is_only_named_gets_nothing(run: str) -> None:
    assert "CapabilityBoundingSet=" in lines(runs=(run,))


def test_a_reload_that_sends_a_signal_may() -> None:
    assert "CapabilityBoundingSet=CAP_KILL" in lines(runs=("kill -HUP $(cat /run/postgresql.pid)",))


def test_a_state_folder_elsewhere_is_made_before_the_sandbox_and_may_be_written() -> None:
    made = lines(state_dir="/srv/knit")
    assert "ExecStartPre=+/bin/mkdir -p -m 0700 /srv/knit" in made
    assert "ReadWritePaths=-/srv/knit" in made
    assert not [line for line in made if line.startswith("StateDirectory")]


@pytest.mark.parametrize(
    "changes",
    [{"folders": ("/home/www/tls",)}, {"reads": ("/root/valkey-url",)}, {"command": ("/home/knit/bin/knit", "watch")}],
)
def test_homes_can_be_seen_where_something_lies_there(changes: dict[str, object]) -> None:
    assert "ProtectHome=read-only" in lines(**changes)


def test_a_folder_below_tmp_is_the_one_that_others_see() -> None:
    assert "PrivateTmp=no" in lines(folders=("/var/tmp/tls",))  # noqa: S108 -- a name only


def test_signs_that_systemd_reads_otherwise_are_escaped() -> None:
    made = lines(folders=('/srv/100%/a b"c\\d/$x',), command=("/opt/a b/knit", "watch"))
    assert 'ReadWritePaths="-/srv/100%%/a b\\"c\\\\d/$x"' in made
    assert 'ExecStart="/opt/a b/knit" watch' in made


def spec(path: str, **more: str) -> FileSpec:
    return FileSpec(content=Content.FULLCHAIN, path=path, **more)  # type: ignore[arg-type]


def test_a_node_file_says_which_folders_owners_and_commands_there_are() -> None:
    one = Place(
        name="one", files=(spec("/etc/ssl/knit/{name}.crt"), spec("/etc/ssl/knit/x/{name}.key", group="ssl-cert"))
    )
    two = Place(name="two", files=(spec("/srv/{name}/a/full.pem", owner="0"),), check="nginx -t", reload="true")
    file = NodeFile(name="web1", places={"one": one, "two": two})
    assert (folders_of(one), folders_of(two)) == (("/etc/ssl/knit", "/etc/ssl/knit/x"), ("/srv",))
    assert owners_of(file) == Owners(groups=True)
    assert commands_of(file) == ("nginx -t", "true")


def test_an_owner_other_than_root_has_to_be_given() -> None:
    file = NodeFile(name="web1", places={"one": Place(name="one", files=(spec("/a/b", owner="postgres"),))})
    assert owners_of(file) == Owners(users=True)
    assert owners_of(file) | Owners(groups=True) == Owners(users=True, groups=True)
