"""A node with a node file and a real server: a deployment, one that its check refuses, one that is not served."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, Place
from knit.core.presets import PRESETS
from knit.node.probe import Prober
from rig.machine import Machine
from rig.tls_servers import BROKEN, CERT, COMBINED, KEY, PACKAGED_AS, Running, set_up
from tests.integration.node import pki
from tests.integration.node.conftest import Publisher

pytest.importorskip("knit.flows.deploy")

SERVERS = ("nginx", "haproxy", "apache", "postfix", "dovecot", "postgresql")
ROOT = Path(__file__).parents[2]
WATCH = """
import sys
from knit.flows import deploy
deploy.PATIENCE = 1.0  # Seconds: a server that lies is believed to be slow for so long.
from knit.node.__main__ import main
sys.exit(main())
"""


@dataclass(slots=True)
class Node:
    """`knit watch` on the machine of the server, with a node file that names the preset."""

    place: Place
    server: Running
    prober: Prober
    publisher: Publisher
    home: Path
    generation: int = 0

    def publish(self) -> Bundle:
        """A new certificate."""
        self.generation += 1
        bundle = pki.pair()
        self.publisher.pair("cert:www", bundle, self.generation)
        return bundle

    def once(self, more: str = "", *, probe: str | None = None) -> tuple[int, str]:
        """One pass on the machine; its exit code and what it has logged. `more` is added to the place."""
        file = self.home / "node.toml"
        shown = f'{{ connect = "127.0.0.1:{self.server.ports[0]}" }}' if probe is None else probe
        file.write_text(f'[place.server]\npreset = "{self.place.name}"\nprobe = {shown}\n{more}')
        variables = {
            "KNIT_VALKEY_URL": self.publisher.url,
            "KNIT_NODE_FILE": str(file),
            "KNIT_STATE_DIR": str(self.home / "state"),
            "PGPORT": str(self.server.ports[0]),
            "PGHOST": "/run/postgresql",
            "PYTHONPATH": str(ROOT),
        }
        words = [f"{name}={text}" for name, text in variables.items()]
        command = self.server.machine.command("env", *words, sys.executable, "-c", WATCH, "--once")
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        return done.returncode, done.stderr

    def shows(self, bundle: Bundle) -> bool:
        """Whether this is what the server shows, and what is in its files."""
        assert self.place.probe is not None
        probe = replace(self.place.probe, connect=f"127.0.0.1:{self.server.ports[0]}")
        leaf = x509.load_pem_x509_certificates(bundle.fullchain)[0]
        seen = self.prober.served(probe, server_name="www.test")
        return seen.fingerprint == leaf.fingerprint(hashes.SHA256()).hex() and self.contents() == self.of(bundle)

    def contents(self) -> dict[Content, bytes]:
        """What is in its files."""
        folder = self.server.machine.folder
        return {one.content: folder(_path(one.path)).read_bytes() for one in self.place.files}

    def of(self, bundle: Bundle) -> dict[Content, bytes]:
        """What is in the files when they hold this pair."""
        made = {
            Content.FULLCHAIN: bundle.fullchain,
            Content.PRIVKEY: bundle.privkey,
            Content.COMBINED: bundle.privkey + bundle.fullchain,
        }
        return {one.content: made[one.content] for one in self.place.files}


def _path(path: str) -> str:
    return path.replace("{name}", "www.test")


@pytest.fixture
def node(request: pytest.FixtureRequest, machine: Machine, valkey_url: str, tmp_path: Path) -> Iterator[Node]:
    place = PRESETS[request.param]
    paths = {one.content: _path(one.path) for one in place.files}
    words = ((CERT, Content.FULLCHAIN), (KEY, Content.PRIVKEY), (COMBINED, Content.COMBINED))
    files = {word: paths[content] for word, content in words if content in paths}
    server = set_up(machine, PACKAGED_AS.get(place.name, place.name), files)
    for path in paths.values():
        machine.must("mkdir", "-p", path.rpartition("/")[0])
    publisher = Publisher(valkey_url, tmp_path)
    with closing(Prober(os.environ)) as prober:
        yield Node(place, server, prober, publisher, tmp_path)
        server.stop()
    publisher.link.close()


@pytest.mark.parametrize("node", SERVERS, indirect=True)
def test_a_server_shows_the_new_certificate_or_else_the_one_of_before(node: Node) -> None:
    # Before its first start there is nobody to check, to reload or to look at.
    first = node.publish()
    assert node.once('check = ""\nreload = ""\n', probe="{}")[0] == 0
    node.server.start()
    assert node.shows(first)

    second = node.publish()
    code, said = node.once()
    assert (code, "ERROR" in said) == (0, False), said
    assert node.shows(second)

    # A configuration that somebody has broken: nothing of the new certificate gets as far as the reload.
    node.server.write(lambda text: text.replace(*BROKEN[node.place.name]))
    node.publish()
    code, said = node.once()
    assert code == 1
    assert "check failed" in said
    assert "reloaded" not in said
    assert node.shows(second)

    # A reload that does nothing, and says that all is well.
    node.server.write()
    node.publish()
    code, said = node.once('reload = "true"\n')
    assert code == 1
    assert "another certificate is served" in said
    assert re.search(f"serves serial {_serial(second)} for www.test", said)
    assert node.shows(second)

    last = node.publish()
    assert node.once()[0] == 0
    assert node.shows(last)


def _serial(bundle: Bundle) -> str:
    return f"{x509.load_pem_x509_certificates(bundle.fullchain)[0].serial_number:x}"
