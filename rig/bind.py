"""ISC's BIND, taking signed dynamic updates (RFC 2136 with TSIG, RFC 8945) for TXT records alone."""

from __future__ import annotations

import base64
import secrets
import shutil

from rig import binaries
from rig.authoritative import Authoritative
from rig.knot import ZONE, TsigKey
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process

SETTINGS = """\
options {{
    directory "{home}";
    pid-file none;
    session-keyfile "{home}/session.key";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
}};
controls {{ }};
key "{key}" {{
    algorithm {algorithm};
    secret "{secret}";
}};
{zones}
"""
ENTRY = """\
zone "{zone}" {{
    type primary;
    file "{home}/{file}";
    update-policy {{ grant {key} zonesub TXT; }};
}};
"""


class Bind(Authoritative):
    """One server with the given zones. Its policy lets the key change TXT records and nothing else."""

    def __init__(self, *zones: str, algorithm: str = "hmac-sha256") -> None:
        super().__init__(free_port(), zones)
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self.key = TsigKey(name="knit.", algorithm=algorithm, secret=secret)
        self._home = temporary_directory("bind")
        self._write_files()
        programs = binaries.bind()
        self.process = Process(
            name="named",
            command=[programs.path("named"), "-g", "-c", str(self._home / "named.conf"), "-n", "1"],
            output=self._home / "log",
            environment=programs.environment,
        )

    def start(self) -> None:
        """Run it until it serves every zone."""
        self.process.start(self.serves_all)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _write_files(self) -> None:
        key, home = self.key, self._home
        for zone in self.zones:
            (home / f"{zone}zone").write_text(ZONE.format(zone=zone, records=""))
        zones = "".join(ENTRY.format(zone=zone, home=home, file=f"{zone}zone", key=key.name) for zone in self.zones)
        settings = SETTINGS.format(
            home=home, port=self.port, key=key.name, algorithm=key.algorithm, secret=key.secret, zones=zones
        )
        (home / "named.conf").write_text(settings)
