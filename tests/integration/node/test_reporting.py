"""Two real nodes and a centre: what they report is what knit status waits for."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from knit.app.collecting import collecting
from knit.core.model.certificate import CertId
from knit.core.served import Standing
from knit.node.metrics import METRICS
from knit.store.database import Database
from rig.valkey import Valkey
from tests.acceptance.knit import knit
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher, until
from tests.integration.node.test_process import memory_mib
from tests.integration.reporting import LAYOUT, Centre

pytestmark = pytest.mark.timeout(180)

KEY = "certs:1"
PLACE = """
name = "{name}"
[place.web]
files = [
  {{ content = "fullchain", path = "{folder}/{{name}}.crt" }},
  {{ content = "privkey", path = "{folder}/{{name}}.key" }},
]
check = "test ! -e {folder}/broken"
reload = "true"
"""
PROBE = 'probe = {{ connect = "127.0.0.1:{port}" }}\n'


@pytest.fixture
def centre(migrated_url: str, valkey_url: str) -> Iterator[Centre]:
    with Database.open(migrated_url) as database:
        yield Centre(database, collecting(valkey_url, LAYOUT.index, database), migrated_url)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """Serves whatever lies in the first node's files, read anew for each handshake; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted, suppress(OSError):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(tmp_path / "web1/www.test.crt", tmp_path / "web1/www.test.key")
                with context.wrap_socket(accepted, server_side=True) as told:
                    told.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    with closing(listener):
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def started(node: Node, tmp_path: Path, name: str, probe: str = "", **more: str) -> tuple[Path, subprocess.Popen[str]]:
    folder = tmp_path / name
    folder.mkdir()
    text = PLACE.format(name=name, folder=folder) + probe
    url = node.settings.valkey_url
    settings = {"KNIT_NODE": text, "KNIT_REPORT_URL": url, "KNIT_STATE_DIR": str(tmp_path / f"state-{name}")}
    process = node.process(**{**settings, "KNIT_RELOAD_CMD": "", "KNIT_WATCH_ROOTS": str(tmp_path), **more})
    return folder, process


def published(centre: Centre, publisher: Publisher, generation: int) -> None:
    publisher.publish(KEY, pki.value(pki.pair(age=1 / generation), "/unused", generation=generation), generation)
    centre.publish(1, generation)


def test_a_renewal_is_waited_for_until_both_nodes_serve_it_and_no_longer_than_one_cannot(
    centre: Centre, node: Node, publisher: Publisher, server: int, tmp_path: Path
) -> None:
    settings = {"KNIT_DB_URL": centre.url, "KNIT_VALKEY_URL": node.settings.valkey_url}
    published(centre, publisher, 1)
    started(node, tmp_path, "web1", PROBE.format(port=server))
    second, _ = started(node, tmp_path, "web2")
    # Both are known before anything is waited for.
    until(lambda: centre.collect.run() is not None and len(centre.book.nodes()) == 2, seconds=40)
    for generation in (1, 2):
        published(centre, publisher, generation) if generation > 1 else None
        done = knit("status", "--wait", "--timeout", "60s", **settings)
        assert done.code == 0, done.err + done.out
        assert centre.standings(1) == {"web1": Standing.SERVED, "web2": Standing.RELOADED}
    (reached,) = (one for one in centre.book.history(CertId(1)) if (one.node, one.generation) == ("web1", 2))
    assert reached.served_on is not None
    assert str(server) in reached.served_on
    assert reached.published_at is not None
    (second / "broken").touch()
    published(centre, publisher, 3)
    done = knit("status", "1", "--wait", "--timeout", "8s", **settings)
    assert done.code == 1
    assert "web2: check failed" in done.out
    both = {"web1": Standing.SERVED, "web2": Standing.ROLLED_BACK}
    until(lambda: centre.collect.run() is not None and centre.standings(1) == both, seconds=30)
    (second / "broken").unlink()
    published(centre, publisher, 4)
    assert knit("status", "--wait", "--timeout", "60s", **settings).code == 0


def test_a_node_whose_report_server_is_away_says_so_once_and_deploys_as_before(
    centre: Centre, node: Node, publisher: Publisher, own_valkey: Valkey, tmp_path: Path
) -> None:
    own_valkey.stop()
    published(centre, publisher, 1)
    folder = tmp_path / "web1"
    text = PLACE.format(name="web1", folder=folder)
    folder.mkdir()
    process = node.process(
        KNIT_NODE=text,
        KNIT_REPORT_URL=own_valkey.url,
        KNIT_RELOAD_CMD="",
        KNIT_WATCH_ROOTS=str(tmp_path),
        KNIT_WATCH_INTERVAL="1",
    )
    until((folder / "www.test.crt").exists, seconds=30)
    published(centre, publisher, 2)
    before = (folder / "www.test.crt").read_bytes()
    published(centre, publisher, 3)
    until(lambda: (folder / "www.test.crt").read_bytes() != before, seconds=30)
    own_valkey.start()
    reports = collecting(own_valkey.url, LAYOUT.index, centre.database)
    until(lambda: reports.run().nodes == 1, seconds=60)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert log.count("report not sent, will retry") == 1, log
    assert log.count("reports go through again") == 1, log


def test_metrics_are_written_whole_under_the_names_that_the_page_has(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.publish(KEY, pki.value(pki.pair(), "/unused"))
    path = tmp_path / "knit.prom"
    started(node, tmp_path, "web1", KNIT_METRICS_TEXTFILE=str(path), KNIT_REPORT_URL="")
    until(lambda: path.exists() and 'valkey_key="certs:1"' in path.read_text(), seconds=40)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE) == list(METRICS)
    assert 'knit_certificate_generation{valkey_key="certs:1",name="www.test",place="web"} 1\n' in text
    page = (Path(__file__).parents[3] / "docs/operations/monitoring.md").read_text()
    assert all(f"`{name}`" in page for name in METRICS)


def test_reports_take_at_most_a_mebibyte_of_memory(node: Node, publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(KEY, pki.value(pki.pair(), "/unused"))
    found = []
    for name, url in (("plain", ""), ("reports", node.settings.valkey_url)):
        folder, process = started(node, tmp_path, name, KNIT_REPORT_URL=url)
        until(lambda folder=folder: (folder / "www.test.crt").exists(), seconds=40)  # type: ignore[misc]
        if url:
            until(lambda: bool(publisher.link.client.exists(LAYOUT.report(name))), seconds=40)  # noqa: B023 -- at once
        found.append(memory_mib(process.pid))
    assert found[1] - found[0] < 1, json.dumps(found)
