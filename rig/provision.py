"""Get the servers that the tests need: `python -m rig.provision [--quiet] [NAME …]`. Exit 1 if one is missing.

Without names, all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from rig import binaries, tls_servers
from rig.lego import Lego, lego
from rig.process import MissingError

SERVERS: Mapping[str, Callable[[], binaries.Programs | binaries.RabbitPrograms | Lego]] = {
    "PostgreSQL": binaries.postgres,
    "Valkey": binaries.valkey,
    "Pebble": binaries.pebble,
    "Knot DNS": binaries.knot,
    "BIND": binaries.bind,
    "PowerDNS": binaries.powerdns,
    "RabbitMQ": binaries.rabbitmq,
    "TLS servers": tls_servers.programs,
    "lego": lego,
}


def main(arguments: list[str]) -> int:
    """Provide each server in turn; say in one line where it comes from or why it is missing."""
    failed = False
    for name in [word for word in arguments if word in SERVERS] or SERVERS:
        try:
            programs = SERVERS[name]()
        except MissingError as missing:
            print(f"{name}: missing: {missing}", file=sys.stderr)
            failed = True
            continue
        if "--quiet" not in arguments:
            print(f"{name}: {programs.source}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
