"""What a node takes for readable, held against real servers and the library they use."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.core.readable import inspect
from rig.debian import library_path, unpacked
from rig.process import MissingError, program
from tests.integration.node import pki

PAIR = pki.pair()
CHAIN, KEY = PAIR.fullchain, PAIR.privkey
LEAF, ISSUER = re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n", CHAIN, re.DOTALL)


def body(block: bytes) -> bytes:
    return b"".join(block.split(b"\n")[1:-2])


def block(lines: Sequence[bytes], label: bytes = b"CERTIFICATE") -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, b"\n".join(lines), label)


def wrapped(text: bytes, width: int) -> list[bytes]:
    return [text[start : start + width] for start in range(0, len(text), width)]


READABLE = {
    "as published": CHAIN,
    "windows lines": CHAIN.replace(b"\n", b"\r\n"),
    "mixed lines": LEAF.replace(b"\n", b"\r\n") + ISSUER,
    "no last newline": CHAIN.rstrip(),
    "blank lines": b"\n\r\n" + LEAF + b"\n \t\r\n" + ISSUER + b"\n\n",
    "blanks at line ends": CHAIN.replace(b"\n", b" \t\n"),
    "many blanks at line ends": CHAIN.replace(b"\n", b" " * 300 + b"\n"),
    "blanks at the end": CHAIN + b"  \t",
    "one long line": block([body(LEAF)]) + ISSUER,
    "lines of 76": block(wrapped(body(LEAF), 76)) + ISSUER,
    "lines of 254": block(wrapped(body(LEAF), 254)) + ISSUER,
    "uneven lines": block([body(LEAF)[:10], *wrapped(body(LEAF)[10:], 61)]) + ISSUER,
    "leaf alone": LEAF,
    "100 kB of blank lines": b"\n" * 100_000 + CHAIN,
}
UNREADABLE = {
    "glued": LEAF.rstrip() + ISSUER,
    "glued, windows lines": LEAF.replace(b"\n", b"\r\n").rstrip() + ISSUER,
    "mac lines": CHAIN.replace(b"\n", b"\r"),
    "blank before the first": b" " + CHAIN,
    "blank before the second": LEAF + b" " + ISSUER,
    "tab before the second": LEAF + b"\t" + ISSUER,
    "form feed before the second": LEAF + b"\f" + ISSUER,
    "vertical tab before the second": LEAF + b"\v" + ISSUER,
    "zero byte before the second": LEAF + b"\0" + ISSUER,
    "blanks for line ends": LEAF.replace(b"\n", b" ") + b"\n" + ISSUER,
    "blank line inside": block([body(LEAF)[:64], b"", *wrapped(body(LEAF)[64:], 64)]) + ISSUER,
    "padding inside": block([body(LEAF)[:64] + b"=", *wrapped(body(LEAF)[64:], 64)]) + ISSUER,
    "header lines": CHAIN.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nProc-Type: 4\n\n", 1),
    "bytes after the certificate": block([base64.b64encode(base64.b64decode(body(LEAF)) + b"zz")]) + ISSUER,
    "an issuer that is none": LEAF + block([b"AAAA"]),
}
OF_OTHER_KINDS = {
    "text between": LEAF + b"subject=x\n" + ISSUER,
    "text first": b"subject=x\n" + CHAIN,
    "text last": CHAIN + b"subject=x\n",
    "byte order mark": b"\xef\xbb\xbf" + CHAIN,
    "zero byte": CHAIN + b"\0",
    "X509 label": CHAIN.replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
    "key in the chain": CHAIN + KEY,
}
READABLE_KEYS = {
    "windows lines": KEY.replace(b"\n", b"\r\n"),
    "no last newline": KEY.rstrip(),
    "blank lines": b"\n" + KEY + b"\n\t",
    "one long line": block([body(KEY)], b"PRIVATE KEY"),
}
UNREADABLE_KEYS = {
    "blank before": b" " + KEY,
    "mac lines": KEY.replace(b"\n", b"\r"),
    "blanks for line ends": KEY.replace(b"\n", b" "),
    "wrong label": KEY.replace(b"PRIVATE", b"RSA PRIVATE"),
    "another's": pki.pair().privkey,
}


@dataclass
class Servers:
    """nginx and HAProxy, asked to check a configuration that names the pair."""

    folder: Path
    nginx: Path
    haproxy: Path

    def __post_init__(self) -> None:
        folder = self.folder
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"pid {folder}/pid; events {{}} http {{ access_log off; {temporary} server {{ listen unix:nginx ssl;"
            f" ssl_certificate {folder}/pem; ssl_certificate_key {folder}/pem.key; }} }}"
        )
        (folder / "haproxy.cfg").write_text(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n"
            f"frontend f\n bind unix@haproxy ssl crt {folder}/pem\n"
        )

    def read(self, bundle: Bundle) -> bool:
        """Whether they start with it, and OpenSSL finds in it as many certificates as there are."""
        (self.folder / "pem").write_bytes(bundle.fullchain)
        (self.folder / "pem.key").write_bytes(bundle.privkey)
        verdicts = {
            self._accepted(self.nginx, "usr/sbin/nginx", "-t", "-e", "stderr", "-c", f"{self.folder}/nginx.conf"),
            self._accepted(self.haproxy, "usr/sbin/haproxy", "-c", "-f", f"{self.folder}/haproxy.cfg"),
        }
        assert len(verdicts) == 1
        return verdicts.pop() and self._found() == bundle.fullchain.count(b"BEGIN CERTIFICATE")

    def _accepted(self, root: Path, program: str, *arguments: str) -> bool:
        environment = {**os.environ, "LD_LIBRARY_PATH": library_path(root)}
        command = [str(root / program), *arguments]
        # The name of a socket, which is short only as seen from this folder, may be no longer than 107 bytes.
        ended = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, check=False, timeout=60)
        return ended.returncode == 0

    def _found(self) -> int:
        container = openssl("crl2pkcs7", "-nocrl", "-certfile", str(self.folder / "pem"))
        return openssl("pkcs7", "-print_certs", "-noout", given=container).count(b"subject")


def openssl(*words: str, given: bytes = b"", folder: Path | None = None) -> bytes:
    """What it prints."""
    path = program("openssl")
    if path is None:
        pytest.skip("no openssl here")
    return subprocess.run(
        [path, *words], input=given, cwd=folder, capture_output=True, check=folder is not None, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    try:
        nginx, haproxy = unpacked("nginx"), unpacked("haproxy")
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    return Servers(tmp_path_factory.mktemp("servers"), nginx, haproxy)


def is_taken(bundle: Bundle) -> bool:
    try:
        inspect(bundle.fullchain, bundle.privkey)
    except ValueError as error:
        assert "\n" not in str(error)
        return False
    return True


@pytest.mark.parametrize("name", READABLE)
def test_a_chain_that_servers_read_is_taken(servers: Servers, name: str) -> None:
    bundle = Bundle(fullchain=READABLE[name], privkey=KEY)
    assert (is_taken(bundle), servers.read(bundle)) == (True, True)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_chain_that_servers_do_not_read_whole_is_refused(servers: Servers, name: str) -> None:
    bundle = Bundle(fullchain=UNREADABLE[name], privkey=KEY)
    assert (is_taken(bundle), servers.read(bundle)) == (False, False)


@pytest.mark.parametrize("name", OF_OTHER_KINDS)
def test_a_chain_with_anything_but_certificates_is_refused_though_servers_read_it(name: str) -> None:
    assert not is_taken(Bundle(fullchain=OF_OTHER_KINDS[name], privkey=KEY))


@pytest.mark.parametrize("name", READABLE_KEYS)
def test_a_key_that_servers_read_is_taken(servers: Servers, name: str) -> None:
    bundle = Bundle(fullchain=CHAIN, privkey=READABLE_KEYS[name])
    assert (is_taken(bundle), servers.read(bundle)) == (True, True)


@pytest.mark.parametrize("name", UNREADABLE_KEYS)
def test_a_key_that_servers_do_not_read_is_refused(servers: Servers, name: str) -> None:
    bundle = Bundle(fullchain=CHAIN, privkey=UNREADABLE_KEYS[name])
    assert (is_taken(bundle), servers.read(bundle)) == (False, False)


Options = dict[str, str]
RSA, EC = ("genpkey", "-algorithm", "RSA", "-pkeyopt"), ("genpkey", "-algorithm", "EC", "-pkeyopt")


def made(folder: Path, *key: str, digest: str = "sha256", issuer_digest: str = "sha256") -> Bundle:
    """A leaf with this key, and an issuer that is not the root."""

    def run(*words: str) -> None:
        openssl(*words, folder=folder)

    def signed(name: str, by: str, digest: str) -> None:
        run("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        issuer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial")
        run("x509", "-req", "-in", f"{name}.csr", *issuer, f"-{digest}", "-days", "20", "-out", f"{name}.pem")

    for name in ("root", "issuer"):
        run(*EC, "ec_paramgen_curve:P-256", "-out", f"{name}.key")
    run("req", "-x509", "-key", "root.key", "-subj", "/CN=root", "-days", "30", "-out", "root.pem")
    run(*key, "-out", "leaf.key")
    signed("issuer", "root", issuer_digest)
    signed("leaf", "issuer", digest)
    chain = (folder / "leaf.pem").read_bytes() + (folder / "issuer.pem").read_bytes()
    return Bundle(fullchain=chain, privkey=(folder / "leaf.key").read_bytes())


@pytest.mark.parametrize(
    ("key", "digests", "readable"),
    [
        ((*RSA, "rsa_keygen_bits:1024"), {}, False),
        ((*RSA, "rsa_keygen_bits:1536"), {}, False),
        ((*RSA, "rsa_keygen_bits:2048"), {}, True),
        ((*EC, "ec_paramgen_curve:prime192v1"), {}, False),
        ((*EC, "ec_paramgen_curve:P-521"), {}, True),
        ((*EC, "ec_paramgen_curve:secp256k1"), {}, True),
        (("genpkey", "-algorithm", "ed25519"), {}, True),
        (("genpkey", "-algorithm", "ed448"), {}, True),
        ((*EC, "ec_paramgen_curve:P-256"), {"digest": "sha1"}, False),
        ((*EC, "ec_paramgen_curve:P-256"), {"issuer_digest": "sha1"}, False),
        ((*EC, "ec_paramgen_curve:P-256"), {"digest": "sha224"}, True),
    ],
)
def test_keys_and_signatures_that_servers_refuse_are_refused(
    servers: Servers, tmp_path: Path, key: Sequence[str], digests: Options, readable: bool
) -> None:
    bundle = made(tmp_path, *key, **digests)
    assert (is_taken(bundle), servers.read(bundle)) == (readable, readable)


@pytest.mark.parametrize("change", [lambda chain: chain, lambda chain: chain.replace(b"\n", b"\r\n")])
def test_taking_no_pair_for_one_is_no_way_out(change: Callable[[bytes], bytes]) -> None:
    other = pki.pair()
    assert not is_taken(Bundle(fullchain=change(CHAIN), privkey=other.privkey))


def test_a_key_with_more_bytes_than_the_largest_is_not_looked_into() -> None:
    bundle = pki.pair()
    assert is_taken(Bundle(fullchain=bundle.fullchain, privkey=bundle.privkey + b"\n" * 1000))
    assert not is_taken(Bundle(fullchain=bundle.fullchain, privkey=bundle.privkey + b"\n" * 20_000))
