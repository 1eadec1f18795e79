"""A real authoritative DNS server that takes signed dynamic updates (RFC 2136 with TSIG, RFC 8945)."""

from __future__ import annotations

import base64
import secrets
import shutil
from dataclasses import dataclass

from rig import binaries
from rig.authoritative import Authoritative
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process

SETTINGS = """\
server:
    rundir: "{home}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: "{home}"
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: updates
    address: 127.0.0.1
    key: {key}
    action: [update, transfer]
template:
  - id: default
    storage: "{home}"
    file: "%s.zone"
    acl: updates
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    semantic-checks: off
zone:
{zones}
"""
ZONE = """\
$ORIGIN {zone}
$TTL 5
@ IN SOA ns1.{zone} hostmaster.{zone} 1 60 60 3600 1
@ IN NS ns1.{zone}
ns1 IN A 127.0.0.1
{records}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TsigKey:
    """What a client needs to sign its updates; the secret is base64."""

    name: str
    algorithm: str
    secret: str


class Knot(Authoritative):
    """One server with the given zones; `records` are lines of zone-file text for each of them.

    Every zone says that its only name server is ns1 of itself, at 127.0.0.1 (port 53, where nothing listens).
    """

    def __init__(self, *zones: str, algorithm: str = "hmac-sha256", records: str = "") -> None:
        super().__init__(free_port(), zones)
        self.key = TsigKey(
            name="knit.",
            algorithm=algorithm,
            secret=base64.b64encode(secrets.token_bytes(32)).decode(),
        )
        self._home = temporary_directory("knot")
        self._write_files(records)
        programs = binaries.knot()
        self.process = Process(
            name="knotd",
            command=[programs.path("knotd"), "--config", str(self._home / "knot.conf")],
            output=self._home / "log",
            environment=programs.environment,
        )

    def start(self) -> None:
        """Run it until it serves every zone."""
        self.process.start(self.serves_all)

    def stop(self) -> None:
        """End it in order; updates are kept."""
        self.process.stop()

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _write_files(self, records: str) -> None:
        zones = "\n".join(f"  - domain: {zone}" for zone in self.zones)
        key = self.key
        settings = SETTINGS.format(
            home=self._home, port=self.port, key=key.name, algorithm=key.algorithm, secret=key.secret, zones=zones
        )
        (self._home / "knot.conf").write_text(settings)
        for zone in self.zones:
            (self._home / f"{zone.rstrip('.')}.zone").write_text(ZONE.format(zone=zone, records=records))
