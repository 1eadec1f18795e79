"""A CA of one's own from `knit ca init` to a node that serves its certificate, and its list of revoked ones."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.acceptance.scene import Scene

NAME = "shop.int.example"
OPENSSL = shutil.which("openssl") or "openssl"


@dataclass(frozen=True)
class Own:
    """An installation whose only issuer is a CA of its own, an intermediate below a root."""

    scene: Scene
    home: Path

    @property
    def env(self) -> dict[str, str]:
        plain = {name: "" for name in self.scene.servers.settings() if name.startswith(("KNIT_ACME_", "DNSUPDATE_"))}
        return {**plain, "KNIT_QUEUE_URL": "", "KNIT_ISSUERS_FILE": str(self.home / "issuers.toml")}

    def knit(self, *words: str) -> str:
        done = self.scene.knit.knit(*words, env=self.env, timeout=90)
        assert done.code == 0, done.err
        return done.out


@pytest.fixture
def own(scene: Scene) -> Own:
    home = scene.knit.home
    (home / "root-word").write_text("root secret\n")
    (home / "word").write_text("issuing secret\n")
    found = Own(scene, home)
    root = ("--cn", "Test Root", "--out", "root", "--passphrase-file", "root-word", "--permitted", "int.example")
    below = ("--cn", "Test Issuing", "--out", "issuing", "--intermediate-of", "root", "--key-type", "ec256")
    found.knit("ca", "init", *root)
    secrets = ("--parent-passphrase-file", "root-word", "--passphrase-file", "word")
    told = found.knit("ca", "init", *below, *secrets)
    section = told[told.index("[issuer.inside]") : told.index("\n\nClients")]
    named = section.replace('"…"      # a file with its passphrase', f'"{home}/word"')
    (home / "issuers.toml").write_text(f'{named}\ncrl_url = "http://crl.int.example/ca.crl"\n')
    return found


def test_a_node_serves_a_certificate_of_our_own_ca_to_a_client_that_trusts_its_root(own: Own) -> None:
    scene = own.scene
    assert "would start" in own.knit("config", "check")
    files = (str(scene.tls / "shop.crt"), str(scene.tls / "shop.key"))
    own.knit(
        *("add", "--domains", f"{NAME},*.{NAME}", "--provider", "none", "--valkey-key", "certs:shop"),
        *("--cert-path", files[0], "--key-path", files[1]),
    )
    waited = scene.knit.knit("renew", "--id", "1", "--wait", env=own.env)
    assert (waited.code, "publishing" in waited.err, "starting" in waited.err.partition("publishing")[2]) == (
        0,
        True,
        False,
    )
    assert scene.watch_once().code == 0
    assert scene.reloaded() == 1
    root = own.home / "issuing" / "root.pem"
    assert handshake(files, ssl.create_default_context(cafile=root), f"www.{NAME}") == "CN=Test Issuing"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, ssl.create_default_context(), f"www.{NAME}")
    (one,) = own.scene.knit.knit("issuers", "--json", env=own.env).json
    assert (one["name"], one["kind"], one["agrees"]) == ("inside", "ca", True)
    own.knit("renew", "--once")
    assert len(scene.sql("select 1 from knit_ca_issued")) == 1, "nothing is due"
    assert scene.pebble.orders() == []

    refused = ("add", "--domains", "shop.example.org", "--provider", "none", "--valkey-key", "certs:out")
    own.knit(*refused, "--cert-path", str(scene.tls / "out.crt"), "--key-path", str(scene.tls / "out.key"))
    failed = scene.knit.knit("renew", "--once", env=own.env)
    assert failed.code == 1
    assert "shop.example.org is not permitted by the name constraints of 'CN=Test Issuing'" in failed.err

    revoked_certificate_counts(own, files[0], root)


def revoked_certificate_counts(own: Own, fullchain: str, root: Path) -> None:
    empty = own.scene.knit.knit("ca", "crl", "--issuer", "inside", "--out", "ca.crl", "--json", env=own.env).json
    assert empty["revoked"] == 0
    assert verify(own, fullchain, root).endswith(": OK\n")
    own.knit("revoke", "--domains", f"{NAME},*.{NAME}", "--reason", "superseded")
    told = own.knit("ca", "crl", "--issuer", "inside", "--out", "ca.crl")
    assert "revoked certificates: 1" in told
    assert "certificate revoked" in verify(own, fullchain, root)
    der = x509.load_der_x509_crl((own.home / "ca.crl").read_bytes())
    assert der == x509.load_pem_x509_crl((own.home / "ca.crl.pem").read_bytes())
    assert der.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > empty["number"]
    assert stat.S_IMODE((own.home / "ca.crl").stat().st_mode) == 0o644

    # A number is enough for a CA of one's own: what was published need not be there any more.
    own.knit("disable", "--domains", f"{NAME},*.{NAME}")
    own.scene.knit.knit("renew", "--once", env=own.env)
    own.knit("revoke", "--domains", f"{NAME},*.{NAME}", "--reason", "cessationOfOperation")
    assert "revoked certificates: 2" in own.knit("ca", "crl", "--issuer", "inside", "--out", "ca.crl")
    own.knit("enable", "--domains", f"{NAME},*.{NAME}")
    own.scene.knit.knit("renew", "--once", env=own.env)
    own.knit("remove", "--domains", f"{NAME},*.{NAME}")
    ((serial,),) = own.scene.sql("select serial from knit_ca_issued where revoked_at is null")
    again = own.knit("revoke", "--serial", f"{int(str(serial), 16):032X}", "--reason", "superseded")
    assert ": revoked at 20" in again
    assert "revoked certificates: 3" in own.knit("ca", "crl", "--issuer", "inside", "--out", "ca.crl")


def verify(own: Own, fullchain: str, root: Path) -> str:
    words = ("-x509_strict", "-crl_check", "-CRLfile", "ca.crl.pem", "-CAfile", str(root), "-untrusted", fullchain)
    done = subprocess.run(
        [OPENSSL, "verify", *words, fullchain], cwd=own.home, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def handshake(files: tuple[str, str], client: ssl.SSLContext, name: str) -> str:
    """Who issued what the client saw, over a real connection."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted, suppress(OSError):
                server.wrap_socket(accepted, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listening.getsockname(), timeout=10) as plain,
                client.wrap_socket(plain, server_hostname=name) as wrapped,
            ):
                der = wrapped.getpeercert(binary_form=True)
        finally:
            thread.join()
    assert der is not None
    return x509.load_der_x509_certificate(der).issuer.rfc4514_string()


def test_a_ca_is_never_overwritten_and_its_key_is_for_its_owner_alone(own: Own) -> None:
    files = {path.name: path for path in (own.home / "issuing").iterdir()}
    assert set(files) == {"ca.pem", "ca.key", "root.pem"}
    assert {name: stat.S_IMODE(path.stat().st_mode) for name, path in files.items()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "root.pem": 0o644,
    }
    before = {path: path.read_bytes() for path in files.values()}
    knit = own.scene.knit
    again = knit.knit("ca", "init", "--cn", "x", "--out", "issuing")
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert "no CA is overwritten" in again.err
    assert {path: path.read_bytes() for path in files.values()} == before
    files["ca.key"].rename(own.home / "key")
    files["root.pem"].unlink()
    assert knit.knit("ca", "init", "--cn", "x", "--out", "issuing").code == 1
    assert sorted(path.name for path in (own.home / "issuing").iterdir()) == ["ca.pem"], "nothing is left half made"


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("--cn", "x" * 65), 2, "1 to 64 bytes of printable characters"),
    (("--cn", "é" * 33), 2, "1 to 64 bytes of printable characters"),
    (("--cn", "x", "--passphrase-file", "long"), 2, "a passphrase of 1 to 1023 bytes"),
    (("--cn", "x", "--key-type", "dsa"), 2, "must be one of ec256"),
    (("--cn", "x", "--lifetime", "1h"), 2, "must be a day or more"),
    (("--cn", "x", "--permitted", "*.int.example"), 2, "leave *. out"),
    (("--cn", "x", "--passphrase-file", "word", "--ask-passphrase"), 2, "say one of them"),
    (("--cn", "x", "--ask-passphrase"), 2, "only be asked for at a terminal"),
    (("--cn", "x", "--intermediate-of", "root"), 2, "terminal: name its file with --parent-passphrase-file"),
    (("--cn", "x", "--intermediate-of", "gone"), 1, "No such file"),
    (("--cn", "x", "--intermediate-of", "root", "--parent-passphrase-file", "word"), 2, "passphrase is wrong"),
    (("--cn", "x", "--intermediate-of", "root", "--parent-passphrase-file", "long"), 2, "--parent-passphrase-file: 'l"),
    (("--cn", "x", "--intermediate-of", "root", "--parent-passphrase-file", "no"), 2, "--parent-passphrase-file: 'no'"),
    (("--cn", "x", "--passphrase-file", "no"), 2, "--passphrase-file: 'no' cannot be read"),
    (("--cn", "x", "--lifetime", "40000d"), 2, "up to 36500d"),
    (
        (
            "--cn",
            "x",
            "--intermediate-of",
            "root",
            "--parent-passphrase-file",
            "root-word",
            "--permitted",
            "a.test",
        ),
        2,
        "a.test is not permitted by the CA above",
    ),
    (
        ("--cn", "x", "--intermediate-of", "issuing", "--parent-passphrase-file", "word"),
        2,
        "allows no more than 0 CA certificates below it",
    ),
]


def test_a_wish_that_cannot_be_makes_nothing_and_says_why(own: Own) -> None:
    (own.home / "long").write_text("secret" * 200)
    for words, code, said in WRONG:
        done = own.scene.knit.knit("ca", "init", *words, "--out", "new")
        assert (done.code, said in done.err, done.out) == (code, True, ""), done.err
        assert "secret" not in done.err
        assert not (own.home / "new").exists()


@pytest.mark.parametrize("out", ["", "/", "."])
def test_a_list_needs_a_file_and_no_number_is_used_up_without_one(own: Own, out: str) -> None:
    done = own.scene.knit.knit("ca", "crl", "--issuer", "inside", "--out", out)
    assert (done.code, "must be a file" in done.err) == (2, True), done.err
