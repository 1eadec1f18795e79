"""Pebble's toy DNS server: answers for every name, records set over HTTP; no zones, no NS records."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from functools import cache

from rig import binaries
from rig.lifeline import temporary_directory
from rig.ports import free_port
from rig.process import Process, accepts


@cache
def _dns_flag() -> list[str]:
    """Older releases call the listener after the challenge and have no DNS over HTTPS to switch off."""
    programs = binaries.pebble()
    usage = subprocess.run(
        [programs.path("pebble-challtestsrv"), "-h"], capture_output=True, text=True, check=False
    ).stderr
    return ["-dns01"] if "-dns01" in usage else ["-doh", "", "-dnsserver"]


class ChallTestSrv:
    """One server. Names may be given with or without the last dot."""

    def __init__(self) -> None:
        self.port, self.management_port = free_port(), free_port()
        self._home = temporary_directory("challtestsrv")
        programs = binaries.pebble()
        self.process = Process(
            name="pebble-challtestsrv",
            command=[
                programs.path("pebble-challtestsrv"),
                *_dns_flag(),
                self.address,
                *("-management", f"127.0.0.1:{self.management_port}"),
                *("-http01", "", "-https01", "", "-tlsalpn01", ""),
            ],
            output=self._home / "log",
            environment=programs.environment,
        )

    @property
    def address(self) -> str:
        """host:port of the DNS server, UDP and TCP."""
        return f"127.0.0.1:{self.port}"

    @property
    def management_url(self) -> str:
        """Where set-txt and its like are posted."""
        return f"http://127.0.0.1:{self.management_port}"

    def start(self) -> None:
        """Run it until DNS and management answer."""
        self.process.start(lambda: accepts(self.port) and accepts(self.management_port))

    def stop(self) -> None:
        """End it; it has nothing to save."""
        self.process.kill()

    def close(self) -> None:
        """End it and remove its directory."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def set_txt(self, name: str, value: str) -> None:
        """Add one TXT value beside those already there."""
        self._post("set-txt", host=_absolute(name), value=value)

    def clear_txt(self, name: str) -> None:
        """Remove every TXT value of a name."""
        self._post("clear-txt", host=_absolute(name))

    def set_cname(self, name: str, target: str) -> None:
        """Make a name an alias."""
        self._post("set-cname", host=_absolute(name), target=_absolute(target))

    def clear_cname(self, name: str) -> None:
        """Remove an alias."""
        self._post("clear-cname", host=_absolute(name))

    def set_servfail(self, name: str) -> None:
        """Answer SERVFAIL for a name."""
        self._post("set-servfail", host=_absolute(name))

    def clear_servfail(self, name: str) -> None:
        """Answer for a name again."""
        self._post("clear-servfail", host=_absolute(name))

    def add_a(self, name: str, *addresses: str) -> None:
        """Add IPv4 addresses; names without any answer 127.0.0.1."""
        self._post("add-a", host=_absolute(name), addresses=list(addresses))

    def add_caa(self, name: str, *, tag: str, value: str) -> None:
        """Add one CAA policy."""
        self._post("add-caa", host=_absolute(name), policies=[{"tag": tag, "value": value}])

    def clear_caa(self, name: str) -> None:
        """Remove the CAA policies of a name."""
        self._post("clear-caa", host=_absolute(name))

    def _post(self, path: str, **body: object) -> None:
        request = urllib.request.Request(f"{self.management_url}/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5):
            pass


def _absolute(name: str) -> str:
    return name.rstrip(".") + "."
