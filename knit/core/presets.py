"""What servers need so that they serve a certificate: places that a node file can begin with.

Commands are those of the servers themselves, and of Debian where servers leave it to the system. Each preset that
Debian packages is held against the real server; the pages in docs/howto/nodes say what its configuration has to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from knit.core.model.places import Content, FileSpec, Layout, Place, Probe, StartTls


def _pair(folder: str, group: str | None = None) -> tuple[FileSpec, ...]:
    """Chain and key in a folder. A server that reads them with its own account's rights has the group."""
    mode = None if group is None else 0o640
    return (
        FileSpec(content=Content.FULLCHAIN, path=f"{folder}/{{name}}.crt"),
        FileSpec(content=Content.PRIVKEY, path=f"{folder}/{{name}}.key", mode=mode, group=group),
    )


def _one(folder: str) -> tuple[FileSpec, ...]:
    """Key and chain in one file, which changes all at once: whoever opens it has a pair."""
    return (FileSpec(content=Content.COMBINED, path=f"{folder}/{{name}}.pem"),)


_POSTGRES = "runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1"

_FAULTS = (
    "SELECT string_agg(format($f$%s line %s: %s$f$, sourcefile, sourceline, error), $s$; $s$) INTO wrong"
    " FROM pg_file_settings AS f WHERE error IS NOT NULL AND NOT EXISTS"
    " (SELECT FROM pg_settings AS s WHERE s.name = f.name AND s.context = $c$postmaster$c$)"
)
"""What PostgreSQL would say of its files at a reload; a setting that only waits for a restart is no fault."""

PRESETS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Place(
                name="nginx",
                files=_pair("/etc/nginx/certs"),
                check="nginx -t",
                reload="systemctl reload nginx",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="apache",
                files=_pair("/etc/apache2/certs"),
                check="apachectl configtest",
                reload="systemctl reload apache2",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="haproxy",
                files=_one("/etc/haproxy/certs"),
                check="haproxy -c -f /etc/haproxy/haproxy.cfg",
                reload="systemctl reload haproxy",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="caddy",
                files=_pair("/etc/caddy/certs", "caddy"),
                check="caddy validate --config /etc/caddy/Caddyfile",
                reload="systemctl reload caddy",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="traefik",
                files=_pair("/etc/traefik/certs"),
                reload="touch /etc/traefik/dynamic/certs.yml",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="envoy",
                files=(
                    FileSpec(content=Content.FULLCHAIN, path="/etc/envoy/certs/{name}/tls.crt"),
                    FileSpec(
                        content=Content.PRIVKEY, path="/etc/envoy/certs/{name}/tls.key", mode=0o640, group="envoy"
                    ),
                ),
                layout=Layout.FLIP,
                check="envoy --mode validate -c /etc/envoy/envoy.yaml",
                probe=Probe(connect="127.0.0.1:443"),
            ),
            Place(
                name="postfix",
                files=_one("/etc/postfix/certs"),
                check="postfix check",
                reload="postfix reload",
                probe=Probe(connect="127.0.0.1:25", starttls=StartTls.SMTP),
            ),
            Place(
                name="dovecot",
                files=_pair("/etc/dovecot/certs"),
                check="doveconf -n > /dev/null",
                reload="doveadm reload",
                probe=Probe(connect="127.0.0.1:143", starttls=StartTls.IMAP),
            ),
            Place(
                name="postgresql",
                files=_pair("/etc/postgresql/certs", "postgres"),
                check=f"{_POSTGRES} -c 'DO $do$ DECLARE wrong text; BEGIN {_FAULTS};"
                " IF wrong IS NOT NULL THEN RAISE EXCEPTION $e$%$e$, wrong; END IF; END $do$'",
                reload=f"{_POSTGRES} -c 'SELECT pg_reload_conf()'",
                probe=Probe(connect="127.0.0.1:5432", starttls=StartTls.POSTGRES),
            ),
            Place(
                name="mysql",
                files=_pair("/etc/mysql/certs", "mysql"),
                check="mysqld --verbose --help > /dev/null",
                reload="mysql -e 'FLUSH SSL' || mysql -e 'ALTER INSTANCE RELOAD TLS'",
                probe=Probe(connect="127.0.0.1:3306", starttls=StartTls.MYSQL),
            ),
            Place(
                name="mosquitto",
                files=_pair("/etc/mosquitto/certs", "mosquitto"),
                reload="systemctl reload mosquitto",
                probe=Probe(connect="127.0.0.1:8883"),
            ),
        )
    }
)
