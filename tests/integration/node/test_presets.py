"""Each preset against the real server, as Debian packages it: its files, its check, its reload, its probe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, Place
from knit.core.presets import PRESETS
from knit.core.unit import Owners, Service, capabilities
from knit.node.probe import Prober
from rig.machine import Machine
from rig.tls_servers import BROKEN, CERT, COMBINED, KEY, PACKAGED_AS, Running, set_up
from tests.integration.node import pki

NOT_PACKAGED = {"envoy", "traefik"}
PROVEN = sorted(PRESETS.keys() - NOT_PACKAGED)


@dataclass(slots=True)
class Site:
    """A preset's server on the machine."""

    place: Place
    server: Running
    prober: Prober

    def write(self, pair: Bundle) -> None:
        """Write the preset's files."""
        contents = {
            Content.FULLCHAIN: pair.fullchain,
            Content.PRIVKEY: pair.privkey,
            Content.COMBINED: pair.privkey + pair.fullchain,
        }
        machine = self.server.machine
        for one in self.place.files:
            path = one.path.replace("{name}", "www.test")
            machine.must("mkdir", "-p", path.rpartition("/")[0])
            new = machine.folder(f"{path}.new")
            new.write_bytes(contents[one.content])
            new.chmod(one.mode or (0o644 if one.content is Content.FULLCHAIN else 0o600))
            machine.must("chgrp", one.group or "root", f"{path}.new")
            machine.must("mv", f"{path}.new", path)

    def run(self, command: str | None) -> tuple[bool, str]:
        """Whether the command succeeds on the machine, with the rights that a unit leaves it, and what it prints."""
        assert command is not None
        words = ["env", f"PGPORT={self.server.ports[0]}", "PGHOST=/run/postgresql"]
        if "systemctl" not in command:
            words += ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={_rights(self.place)}"]
        done = self.server.machine.run(*words, "sh", "-c", command)
        return done.returncode == 0, done.stdout

    def shows(self, pair: Bundle) -> bool:
        """Whether the server shows this pair's leaf."""
        assert self.place.probe is not None
        probe = replace(self.place.probe, connect=f"127.0.0.1:{self.server.ports[0]}")
        leaf = x509.load_pem_x509_certificates(pair.fullchain)[0]
        return self.prober.served(probe, server_name="www.test").fingerprint == leaf.fingerprint(hashes.SHA256()).hex()


def _rights(place: Place) -> str:
    """As setpriv has them. What systemd is asked to do, it does with rights of its own."""
    runs = tuple(run for run in (place.check, place.reload) if run is not None)
    service = Service(command=("/knit",), environment_file="", state_dir="", folders=(), owners=Owners(), runs=runs)
    return ",".join(("-all", *(f"+{one.removeprefix('CAP_').lower()}" for one in capabilities(service))))


@pytest.fixture
def site(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Site]:
    place = PRESETS[request.param]
    paths = {one.content: one.path.replace("{name}", "www.test") for one in place.files}
    words = ((CERT, Content.FULLCHAIN), (KEY, Content.PRIVKEY), (COMBINED, Content.COMBINED))
    files = {word: paths[content] for word, content in words if content in paths}
    with closing(Prober(os.environ)) as prober:
        server = set_up(machine, PACKAGED_AS.get(place.name, place.name), files)
        yield Site(place, server, prober)
        server.stop()


@pytest.mark.parametrize("site", PROVEN, indirect=True)
def test_the_server_takes_the_new_certificate_by_the_presets_commands(site: Site) -> None:
    old, new = pki.pair(), pki.pair()
    site.write(old)
    site.server.start()
    assert site.shows(old)
    site.write(new)
    for command in (site.place.check, site.place.reload):
        if command is not None:
            succeeded, said = site.run(command)
            assert succeeded, said
            assert "denied" not in said
    until = time.monotonic() + 20
    while not site.shows(new):
        assert time.monotonic() < until
        time.sleep(0.1)
    if site.place.name in BROKEN:
        assert site.place.check is not None
        site.server.write(lambda text: text.replace(*BROKEN[site.place.name]))
        assert not site.run(site.place.check)[0]
        assert site.shows(new)


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_setting_that_waits_for_a_restart_is_no_fault_of_postgresqls_files(site: Site) -> None:
    site.write(pki.pair())
    site.server.start()
    site.server.write(lambda text: f"{text}max_connections = 77\n")
    assert site.run(site.place.check) == (True, "")
    site.server.write(lambda text: f"{text}no_such_setting = 1\n")
    succeeded, said = site.run(site.place.check)
    assert not succeeded
    assert "unrecognized configuration parameter" in said


def test_each_preset_with_a_check_is_seen_to_fail() -> None:
    assert {name for name in PROVEN if PRESETS[name].check is not None} == BROKEN.keys()
