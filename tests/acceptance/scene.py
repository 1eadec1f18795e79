"""Everything an acceptance test has on stage: a CA, a DNS server that takes updates, Postgres, Valkeys, knit itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, TypeVar, cast

import dns.query
import dns.rdatatype
import dns.tsigkeyring
import dns.zone
import psycopg

from rig.bind import Bind
from rig.installation import Installation, Result
from rig.knot import Knot
from rig.looking import sql
from rig.pebble import Pebble
from rig.process import wait_until
from rig.scripted_ca.client import ScriptedCA
from rig.valkey import Valkey
from tests.fix_rig import Server

ZONE = "knit.example"
CA = Pebble | ScriptedCA
S = TypeVar("S", bound=Server)

ORIGINAL = """
create table if not exists knit_certs (
    id           bigserial primary key,
    domains      text not null unique,
    provider     text not null,
    valkey_key   text not null,
    cert_path    text not null,
    key_path     text not null,
    enabled      boolean not null default true,
    not_after    timestamptz,
    last_renewed timestamptz,
    last_error   text
);
create table if not exists knit_acme_account (email text, private_key text, registration text);
"""
"""What the Go knit has in a database."""

ROW = """
insert into knit_certs (domains, provider, valkey_key, cert_path, key_path)
values (%(domains)s, 'dnsupdate', %(valkey_key)s, %(cert_path)s, %(key_path)s)
"""


def started(stack: ExitStack, make: Callable[[], S]) -> S:
    """A running server that is closed with the stack."""
    server = make()
    stack.callback(server.close)
    server.start()
    return server


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What knit is pointed at. `database` is a URL."""

    ca: CA
    dns: Bind | Knot
    database: str
    valkey: Valkey
    queue: Valkey

    def settings(self) -> dict[str, str]:
        """As a user would set them."""
        return {
            "KNIT_DB_URL": self.database,
            "KNIT_VALKEY_URL": self.valkey.url,
            "KNIT_QUEUE_URL": self.queue.url,
            "KNIT_ACME_DIRECTORY": self.ca.directory_url,
            "KNIT_ACME_CA_FILE": str(self.ca.ca_file),
            "KNIT_ACME_EMAIL": "ops@knit.example",
            "KNIT_RENEW_CONCURRENCY": "4",
            "KNIT_DNS_RESOLVERS": self.dns.address,
            # The zones name a server at port 53, where nothing listens: nobody else could be asked.
            "KNIT_DNS_PROPAGATION_WAIT": "0",
            "DNSUPDATE_NAMESERVER": self.dns.address,
            "DNSUPDATE_TSIG_KEY": self.dns.key.name,
            "DNSUPDATE_TSIG_SECRET": self.dns.key.secret,
            "DNSUPDATE_TSIG_ALGORITHM": self.dns.key.algorithm,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Servers and the installation that uses them."""

    servers: Servers
    knit: Installation

    @property
    def tls(self) -> Path:
        """The node's folder of certificates."""
        folder = self.knit.home / "tls"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def pebble(self) -> Pebble:
        """The CA, where it is Pebble."""
        return cast("Pebble", self.servers.ca)

    @property
    def scripted(self) -> ScriptedCA:
        """The CA, where it is the scripted one."""
        return cast("ScriptedCA", self.servers.ca)

    def add(self, *names: str) -> int:
        """`knit add`, with key and paths made from the first name."""
        return self.knit.add(*names, provider="dnsupdate")

    def insert(self, domains: Iterable[str]) -> None:
        """Rows as the Go knit has them, many at a time, one for each name."""
        rows = [
            {
                "domains": name,
                "valkey_key": f"certs:{name}",
                "cert_path": str(self.tls / f"{name}.crt"),
                "key_path": str(self.tls / f"{name}.key"),
            }
            for name in domains
        ]
        with psycopg.connect(self.servers.database) as connection:
            connection.execute(ORIGINAL)
            connection.cursor().executemany(ROW, rows)

    def once(self, **more: str) -> Result:
        """`knit renew --once`."""
        return self.knit.knit("renew", "--once", env=more, timeout=90)

    def watch_once(self, **more: str) -> Result:
        """`knit watch --once`, with nothing set but Valkey, a reload command that leaves a line, and its folders."""
        settings = {
            "KNIT_RELOAD_CMD": f"echo reloaded >> {self.reloads}",
            "KNIT_WATCH_ROOTS": str(self.tls),
            "KNIT_STATE_DIR": str(self.knit.home / "node"),
        }
        others = {name: "" for name in self.servers.settings() if name != "KNIT_VALKEY_URL"}
        return self.knit.knit("watch", "--once", env={**others, **settings, **more})

    @property
    def reloads(self) -> Path:
        """Where each reload leaves a line."""
        return self.knit.home / "reloads"

    def reloaded(self) -> int:
        """How often the node's reload command ran."""
        return len(self.reloads.read_text().splitlines()) if self.reloads.exists() else 0

    def raw(self, key: str) -> bytes | None:
        """The published value, byte for byte."""
        with closing(self.servers.valkey.client()) as client:
            text = cast("str | None", client.get(key))
        return None if text is None else text.encode()

    def value(self, key: str) -> dict[str, Any]:
        """The published value."""
        raw = self.raw(key)
        assert raw is not None, f"nothing is published at {key}"
        found: dict[str, Any] = json.loads(raw)
        return found

    def values(self) -> dict[str, bytes | None]:
        """All that is published, by key."""
        return {key: self.raw(key) for key in self.index()}

    def index(self) -> set[str]:
        """The index."""
        with closing(self.servers.valkey.client()) as client:
            return cast("set[str]", client.smembers("knit:index"))

    def revision(self) -> str | None:
        """The change feed's revision."""
        with closing(self.servers.valkey.client()) as client:
            return cast("str | None", client.get("knit:index:revision"))

    def staged(self) -> list[str]:
        """Keys of bundles that wait to be published."""
        with closing(self.servers.valkey.client()) as client:
            return sorted(cast("Iterable[str]", client.scan_iter("knit:index:staging:*", count=1000)))

    def wait_for_schema(self) -> None:
        """Wait until the first process has made the tables."""
        wait_until(lambda: bool(self.sql("select to_regclass('knit_marks')")[0][0]), "the schema", seconds=30)

    def sql(self, statement: LiteralString, *parameters: object) -> list[Any]:
        """Run one statement; its rows, if it gives any."""
        return sql(self.servers.database, statement, *parameters)

    def challenges(self) -> list[str]:
        """The names that hold TXT values at the DNS server now."""
        return txt_names(self.servers.dns)


def txt_names(server: Bind | Knot) -> list[str]:
    """Every name of the zone that holds TXT values, by a zone transfer."""
    ring = dns.tsigkeyring.from_text({server.key.name: server.key.secret})
    transfer = dns.query.xfr(
        "127.0.0.1",
        ZONE,
        port=server.port,
        keyring=ring,
        keyname=server.key.name,
        keyalgorithm=server.key.algorithm,
        relativize=False,
        timeout=5,
    )
    zone = dns.zone.from_xfr(transfer, relativize=False)
    return sorted(str(name) for name, _, _ in zone.iterate_rdatas(dns.rdatatype.TXT))
