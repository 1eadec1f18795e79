"""CPU per certificate on the whole worker path, from the message to the published value, against a plain loop.

Ours is everything that the Procfile's two worker processes do for it: queue, journal in Postgres, leases, staging,
DNS updates, publication. The plain loop makes the same DNS updates and keeps nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

from bench.centre import ZONES, Authority, centre, name_of
from bench.figures import Figure
from bench.plain_acme import Plain, Setting
from bench.timing import median
from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions

IN_FLIGHT = 4
ROUNDS = 6
CERTIFICATES = 80


def measure() -> list[Figure]:
    """The rounds alternate; the first of each (account, connections, imports) is not counted."""
    knot = Knot(*ZONES)
    pebble = Pebble(
        PebbleOptions(dns_server=knot.address, nonce_reject_percent=0, retry_after_authz=0, retry_after_order=0)
    )
    try:
        knot.start()
        pebble.start()
        authority = Authority(directory_url=pebble.directory_url, ca_file=Path(pebble.ca_file))
        plain = Plain(pebble, updates(knot))
        with centre(knot, authority, in_flight=IN_FLIGHT) as ours, ThreadPoolExecutor(IN_FLIGHT) as threads:
            spent: list[tuple[float, float]] = []
            for turn in range(ROUNDS + 1):
                before = time.process_time()
                list(threads.map(plain.issue, [name_of(f"p{turn}-", number) for number in range(CERTIFICATES)]))
                spent.append(((time.process_time() - before) / CERTIFICATES, ours.run(CERTIFICATES).cpu))
    finally:
        pebble.close()
        knot.close()
    theirs, cpu = (median([turn[which] * 1000 for turn in spent[1:]]) for which in (0, 1))
    return [
        Figure(
            what="CPU per certificate: worker path / plain loop over `acme`",
            ours=f"{cpu:.1f} ms",
            baseline=f"{theirs:.1f} ms",
            number=cpu / theirs,
            goal=0.75,
        )
    ]


def updates(knot: Knot) -> Setting:
    """Sets and removes a value by signed DNS updates, as a script would."""
    keyring = dns.tsigkeyring.from_text({knot.key.name: knot.key.secret})

    def send(name: str, change: Callable[[dns.update.UpdateMessage], None]) -> None:
        zone = next(zone for zone in ZONES if name.endswith(f".{zone}"))
        update = dns.update.UpdateMessage(zone, keyring=keyring, keyalgorithm=knot.key.algorithm)
        change(update)
        answer = dns.query.tcp(update, "127.0.0.1", timeout=5, port=knot.port)
        assert answer.rcode() == dns.rcode.NOERROR

    @contextmanager
    def setting(name: str, value: str) -> Iterator[None]:
        send(name, lambda update: update.add(f"{name}.", 120, "TXT", value))
        yield
        send(name, lambda update: update.delete(f"{name}.", "TXT", value))

    return setting
