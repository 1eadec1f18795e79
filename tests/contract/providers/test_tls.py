"""Whose TLS certificates the clients of DNS providers believe."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from knit.errors import Misconfigured, Unreachable
from knit.ports.solving import Timing
from knit.providers import httpreq, pdns
from knit.providers.acmedns_accounts import HttpAccounts
from knit.providers.base import Runtime, Values
from knit.providers.http.tls import Trust
from knit.providers.lego import provider as lego_provider
from knit.providers.lego.table import table
from rig.dns_api.pdns import FakePdns
from tests.contract.providers.suite import ONE

TIMING = Timing(timeout=60, interval=2, ttl=120, http=4)


@dataclass(frozen=True, kw_only=True)
class Private:
    """A server behind a private CA; `roots` is the CA's certificate."""

    api: FakePdns
    roots: Path


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    api = FakePdns()
    api.add_zone("example.org")
    with api.serving(tls):
        yield Private(api=api, roots=roots)


def runtime(trust: Trust) -> Runtime:
    return Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep, trust=trust)


def present(private: Private, trust: Trust) -> None:
    given = {"PDNS_API_URL": private.api.url, "PDNS_API_KEY": FakePdns.key}
    pdns.PROVIDER.solver(Values(given), runtime(trust)).present(ONE)
    assert private.api.values(ONE.fqdn) == [ONE.value]


def test_a_private_ca_is_not_believed_unless_the_user_says_so(private: Private) -> None:
    with pytest.raises(Unreachable, match="TLS failed"):
        present(private, Trust())


def test_the_user_s_roots_count_besides_the_system_s(private: Private) -> None:
    present(private, Trust(file=str(private.roots)))
    usual = len(Trust().context().get_ca_certs())
    assert len(Trust(file=str(private.roots)).context().get_ca_certs()) == usual + 1


def test_every_file_of_a_folder_counts_whatever_its_name(private: Private) -> None:
    folder = private.roots.parent
    (folder / "README").write_text("no certificate")
    present(private, Trust(folders=("/does/not/exist", str(folder))))


def test_the_account_server_of_acme_dns_is_believed_too(private: Private) -> None:
    with pytest.raises(Unreachable, match="TLS failed"):
        HttpAccounts(private.api.url, TIMING, runtime(Trust())).get("example.org")
    with pytest.raises(Exception, match="HTTP 401"):
        HttpAccounts(private.api.url, TIMING, runtime(Trust(file=str(private.roots)))).get("example.org")


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("none")
    with pytest.raises(Misconfigured, match="KNIT_DNS_CA_FILE"):
        Trust(file=str(tmp_path / "empty")).context()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_variables_that_openssl_and_lego_read_count_in_a_process(private: Private, name: str) -> None:
    program = """
import sys, json
from knit.settings.central import Dns
from knit.settings.environment import Environment
from knit.providers import pdns
from knit.providers.base import Runtime, Values
from knit.providers.http.tls import Trust
from tests.contract.providers.suite import ONE
from datetime import UTC, datetime
import time
dns = Dns.read(Environment.of_process())
trust = Trust(file=dns.ca_file, folders=dns.ca_folders)
runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep, trust=trust)
pdns.PROVIDER.solver(Values(json.loads(sys.argv[1])), runtime).present(ONE)
"""
    where = str(private.roots if name == "SSL_CERT_FILE" else private.roots.parent)
    given = json.dumps({"PDNS_API_URL": private.api.url, "PDNS_API_KEY": FakePdns.key})
    environment = {"PATH": "/usr/bin:/bin", name: where}
    command = [sys.executable, "-c", program, given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert private.api.values(ONE.fqdn) == [ONE.value]


def test_what_requests_brings_does_not_count_where_the_system_has_its_own(private: Private) -> None:
    """A root that the operator has taken out of the system's is not let in by the back door."""
    given = {"HTTPREQ_ENDPOINT": private.api.url}
    solver = httpreq.PROVIDER.solver(Values(given), runtime(Trust(file=str(private.roots))))
    assert isinstance(solver, httpreq.HttpReq)
    context = Trust(file=str(private.roots)).context()
    before = len(context.get_ca_certs())
    with pytest.raises(Exception, match="HTTP 401"):
        solver.present(ONE)
    assert len(context.get_ca_certs()) == before


def test_lego_and_the_vendors_libraries_get_one_file_with_all_roots(private: Private) -> None:
    trust = Trust(file=str(private.roots))
    bundle = trust.bundle()
    assert private.roots.read_text().strip() in Path(bundle).read_text()
    assert Path(bundle).read_text().count("BEGIN CERTIFICATE") > 1
    entry, values = table()["abion"], Values({"ABION_API_KEY": "k"})
    account = lego_provider.setup(entry, values)
    made = lego_provider.solver(entry, account, values, runtime(trust))
    assert made._setup.environment["SSL_CERT_FILE"] == bundle
    plain = lego_provider.solver(entry, account, values, runtime(Trust()))
    assert "SSL_CERT_FILE" not in plain._setup.environment


def test_without_any_folder_to_write_in_there_is_a_bundle_all_the_same(
    private: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose root is read-only."""
    monkeypatch.chdir("/proc")
    for folder in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(folder, "/proc")
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    path = Trust(file=str(private.roots)).bundle()
    assert private.roots.read_text().strip() in Path(path).read_text()
    assert Path(path).read_text() == Path(path).read_text()
    ssl.create_default_context(cafile=path)
