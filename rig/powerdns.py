"""PowerDNS Authoritative Server with its HTTP API, its zones in SQLite."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import urllib.request
from typing import Any

from rig import binaries
from rig.authoritative import Authoritative
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, accepts

SETTINGS = """\
launch=gsqlite3
module-dir={modules}
gsqlite3-database={home}/zones.sqlite
local-address=127.0.0.1
local-port={port}
socket-dir={home}
daemon=no
guardian=no
write-pid=no
api=yes
api-key={key}
webserver=yes
webserver-address=127.0.0.1
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8
# Answers are kept for so many seconds, whatever the API changes meanwhile.
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
"""
SCHEMA = "share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"


class PowerDns(Authoritative):
    """One server with the given zones of one kind (Native, Master); its API is at `url` and wants `key`."""

    def __init__(self, *zones: str, kind: str = "Native") -> None:
        super().__init__(free_port(), zones)
        self.api_port = free_port()
        self.key = secrets.token_urlsafe()
        self._kind = kind
        self._home = temporary_directory("powerdns")
        programs = binaries.powerdns()
        system = programs.folder.parent
        modules = next(system.glob("lib/*/pdns"))
        settings = SETTINGS.format(
            home=self._home, modules=modules, port=self.port, key=self.key, api_port=self.api_port
        )
        (self._home / "pdns.conf").write_text(settings)
        database = sqlite3.connect(self._home / "zones.sqlite")
        database.executescript((system / SCHEMA).read_text())
        database.close()
        self.process = Process(
            name="pdns_server",
            command=[programs.path("pdns_server"), f"--config-dir={self._home}"],
            output=self._home / "log",
            environment=programs.environment,
        )

    @property
    def url(self) -> str:
        """The API's address, as PDNS_API_URL wants it."""
        return f"http://127.0.0.1:{self.api_port}"

    def start(self) -> None:
        """Run it until it serves every zone."""
        self.process.start(lambda: accepts(self.port) and accepts(self.api_port))
        for zone in self.zones:
            self._make(zone)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the API, below the server's own path."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/servers/localhost{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": self.key, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or "null")

    def _make(self, zone: str) -> None:
        def entry(name: str, kind: str, content: str) -> dict[str, object]:
            return {"name": name, "type": kind, "ttl": 5, "records": [{"content": content, "disabled": False}]}

        sets = [
            entry(zone, "SOA", f"ns1.{zone} hostmaster.{zone} 1 60 60 3600 1"),
            entry(zone, "NS", f"ns1.{zone}"),
            entry(f"ns1.{zone}", "A", "127.0.0.1"),
        ]
        self.api("POST", "/zones", {"name": zone, "kind": self._kind, "rrsets": sets})
