"""The demo: three certificates from `knit add` to a TLS handshake, on servers that end with it."""

from __future__ import annotations

import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from rig.challtestsrv import ChallTestSrv
from rig.installation import ROOT, Installation
from rig.pebble import DEFAULT_VALIDITY, Pebble, PebbleOptions
from rig.ports import free_port
from rig.postgres import Postgres
from rig.process import RigError, wait_until
from rig.valkey import Valkey
from tests.fix_rig import Server

NAMES = (("shop.example", "*.shop.example"), ("api.example",), ("mail.example", "imap.example"))
S = TypeVar("S", bound=Server)


class Screen:
    """Prints with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._colour = sys.stdout.isatty()

    def step(self, text: str) -> None:
        """A heading."""
        self._put(self._styled("1", f"\n[{time.monotonic() - self._began:5.1f} s] {text}"))

    def command(self, text: str) -> None:
        """What a user would type."""
        self._put(self._styled("36", f"  $ {text}"))

    def output(self, text: str) -> None:
        """What came of it."""
        for line in text.rstrip().splitlines():
            self._put(f"    {line}")

    def _put(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _styled(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


@dataclass(frozen=True, slots=True)
class Demo:
    """The stage and the screen."""

    screen: Screen
    knit: Installation
    tls: Path
    port: int

    def play(self) -> None:
        """All acts."""
        self._list()
        self._issue()
        self._serve()
        self._renew()
        self._leave()

    def _run(self, *words: str) -> str:
        self.screen.command(f"knit {shlex.join(words)}")
        result = self.knit.knit(*words)
        if result.code:
            message = f"knit {words[0]} ended with {result.code}: {result.err}"
            raise RigError(message)
        return result.out

    def _list(self) -> None:
        self.screen.step("Three certificates, one of them for an apex and its wildcard, are put on the list")
        for domains in NAMES:
            stem = domains[0]
            paths = ("--cert-path", str(self.tls / f"{stem}.crt"), "--key-path", str(self.tls / f"{stem}.key"))
            key = ("--valkey-key", f"certs:{stem}")
            self.screen.output(self._run("add", "--domains", ",".join(domains), "--provider", "exec", *key, *paths))

    def _issue(self) -> None:
        self.screen.step(
            "Scheduler, workers and one node start; the node knows Valkey and a reload command, nothing else"
        )
        for name in ("scheduler", "worker-control", "worker-renew"):
            self.knit.start(name)
        self.knit.watch(self.tls, KNIT_RELOAD_CMD=f"kill -HUP $(cat {self.knit.home}/tls.pid) 2>/dev/null || true")
        wait_until(self._all_there, "three pairs in the node's folder", seconds=60)
        self.screen.step("Issued over ACME DNS-01, published to Valkey, written by the node:")
        self.screen.output(
            subprocess.run(["/bin/ls", "-l", str(self.tls)], capture_output=True, text=True, check=True).stdout
        )
        self.screen.output(self._run("list"))

    def _all_there(self) -> bool:
        return all((self.tls / f"{names[0]}.{kind}").exists() for names in NAMES for kind in ("crt", "key"))

    def _serve(self) -> None:
        self.screen.step("A web server reads the files; this is what a client is served")
        server = [
            sys.executable,
            "-m",
            "rig.demo.tls_server",
            str(self.port),
            f"{self.knit.home}/tls.pid",
            str(self.tls),
        ]
        self.knit.run("tls-server", server)
        wait_until((self.knit.home / "tls.pid").exists, "the TLS server")
        self.screen.output(self._handshake("www.shop.example"))

    def _handshake(self, name: str) -> str:
        openssl = shutil.which("openssl")
        if openssl is None:
            return self._subject(name)
        client = f"{openssl} s_client -connect 127.0.0.1:{self.port} -servername {name} </dev/null 2>/dev/null"
        shown = f"{client} | {openssl} x509 -noout -serial -startdate -enddate -ext subjectAltName"
        self.screen.command(shown.replace(f"{openssl} ", "openssl "))
        return subprocess.run(["/bin/sh", "-c", shown], capture_output=True, text=True, check=True).stdout

    def _subject(self, name: str) -> str:
        self.screen.output("(openssl is not on this machine: Python asks instead)")
        return f"serial={self._served(name):X}"

    def _served(self, name: str) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.port)) as raw,
            context.wrap_socket(raw, server_hostname=name) as tls,
        ):
            certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        return certificate.serial_number

    def _renew(self) -> None:
        self.screen.step("Renewed now, by force, and waited for until it is published")
        before = self._served("www.shop.example")
        self.screen.output(self._run("renew", "--domains", ",".join(NAMES[0]), "--force", "--again", "--wait"))
        wait_until(lambda: self._served("www.shop.example") != before, "the renewed certificate served", seconds=30)
        self.screen.step("The node noticed, wrote the new pair and reloaded the server:")
        self.screen.output(self._handshake("www.shop.example"))

    def _leave(self) -> None:
        self.screen.step("Done. Everything this started ends now. To go on:")
        self.screen.output(
            "README.md            what to set for a real CA, your DNS provider and your servers\n"
            "docs/tutorial.md     the same path by hand\n"
            "compose/compose.yaml the same parts as containers"
        )


def stage(entered: ExitStack) -> Installation:
    """Start all servers. What knit's processes get is in the settings, as a user would set them."""

    def started(make: Callable[[], S]) -> S:
        server = make()
        entered.callback(server.close)
        server.start()
        return server

    dns = started(ChallTestSrv)
    ca = started(lambda: Pebble(PebbleOptions(dns_server=dns.address, short_validity=DEFAULT_VALIDITY)))
    postgres, valkey, queue = started(Postgres), started(Valkey), started(Valkey)
    settings = {
        "KNIT_DB_URL": postgres.create_database("knit_demo"),
        "KNIT_VALKEY_URL": valkey.url,
        "KNIT_QUEUE_URL": queue.url,
        "KNIT_ACME_DIRECTORY": ca.directory_url,
        "KNIT_ACME_CA_FILE": str(ca.ca_file),
        "KNIT_RENEW_CONCURRENCY": "4",
        "KNIT_DNS_RESOLVERS": dns.address,
        "KNIT_DNS_PROPAGATION_WAIT": "0",
        "EXEC_PATH": str(ROOT / "rig" / "demo" / "set_txt.py"),
        "EXEC_SEQUENCE_INTERVAL": "0",
        "DEMO_DNS": dns.management_url,
    }
    return entered.enter_context(Installation(settings=settings))


def main() -> int:
    """Play the demo; exit code 1 with one line, and the processes' logs, when an act fails."""
    screen = Screen()
    with ExitStack() as entered:
        screen.step("PostgreSQL, two Valkeys, a test CA (Pebble) and its DNS server start on loopback ports")
        knit = stage(entered)
        tls = knit.home / "tls"
        tls.mkdir()
        try:
            Demo(screen, knit, tls, free_port()).play()
        except (RigError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{knit.logs()}\ndemo: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
