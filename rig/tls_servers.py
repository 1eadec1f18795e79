"""Servers that serve a certificate, on a machine of the rig's, with the configuration that a how-to page asks for.

Each reads its certificate from files that it is told, and listens on ports of 127.0.0.1 that were free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rig import binaries, debian
from rig.machine import Machine
from rig.ports import free_port
from rig.postgres import new_cluster

PACKAGES = (
    "apache2",
    "caddy",
    "dovecot-imapd",
    "dovecot-pop3d",
    "haproxy",
    "mariadb-client-core",
    "mariadb-server-core",
    "mosquitto",
    "nginx",
    "postfix",
    "slapd",
)
CERT, KEY, COMBINED = (f"/etc/ssl/knit/www.test.{ending}" for ending in ("crt", "key", "pem"))
"""Where they are unless it is said otherwise: the chain, the key, and both in one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one is set up: its configuration, where `PORT` and `PORT2` stand for its ports, and its command.

    `keys` is the account that must be able to read the key. `prepare` is run on the machine before the first start.
    """

    configuration: str
    text: str
    command: tuple[str, ...]
    more: Mapping[str, str] = field(default_factory=dict)
    prepare: str = ""
    keys: str = "root"
    environment: Mapping[str, str] = field(default_factory=dict)


SERVERS: Mapping[str, Server] = {
    "nginx": Server(
        configuration="/etc/nginx/nginx.conf",
        text=f"""\
user www-data;
pid /run/nginx.pid;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:PORT ssl;
        ssl_certificate {CERT};
        ssl_certificate_key {KEY};
    }}
}}
""",
        prepare="mkdir -p /var/lib/nginx /var/log/nginx",
        command=("nginx", "-g", "daemon off;"),
    ),
    "apache2": Server(
        configuration="/etc/apache2/apache2.conf",
        text=f"""\
PidFile /run/apache2/apache2.pid
ErrorLog /var/log/apache2/error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
ServerName www.test
Listen 127.0.0.1:PORT
<VirtualHost 127.0.0.1:PORT>
    SSLEngine on
    SSLCertificateFile {CERT}
    SSLCertificateKeyFile {KEY}
</VirtualHost>
""",
        prepare="mkdir -p /run/apache2 /run/lock /var/log/apache2",
        command=("sh", "-c", ". /etc/apache2/envvars; exec apache2 -DFOREGROUND"),
    ),
    "haproxy": Server(
        configuration="/etc/haproxy/haproxy.cfg",
        text=f"""\
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend www
    bind 127.0.0.1:PORT ssl crt {COMBINED}
    http-request return status 200
""",
        command=(
            "haproxy",
            "-Ws",
            "-f",
            "/etc/haproxy/haproxy.cfg",
            "-p",
            "/run/haproxy.pid",
            "-S",
            "/run/haproxy-master.sock",
        ),
    ),
    "caddy": Server(
        configuration="/etc/caddy/Caddyfile",
        text=f"""\
{{
    admin unix//run/caddy-admin.sock
    auto_https off
}}
https://www.test:PORT {{
    bind 127.0.0.1
    tls {CERT} {KEY}
    respond "here"
}}
""",
        prepare="mkdir -p /var/lib/caddy",
        command=("caddy", "run", "--config", "/etc/caddy/Caddyfile"),
        environment={"HOME": "/var/lib/caddy"},
    ),
    "postfix": Server(
        configuration="/etc/postfix/main.cf",
        text=f"""\
compatibility_level = 3.6
maillog_file = /var/log/postfix.log
myhostname = www.test
mydestination = www.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtpd_tls_chain_files = {COMBINED}
smtpd_tls_security_level = may
""",
        more={
            "/etc/postfix/master.cf": """\
127.0.0.1:PORT inet n - n - - smtpd
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
""",
        },
        prepare="mkdir -p /var/lib/postfix; chown postfix /var/lib/postfix; postfix check",
        command=("/usr/lib/postfix/sbin/master", "-d"),
    ),
    "dovecot": Server(
        configuration="/etc/dovecot/dovecot.conf",
        text=f"""\
protocols = imap pop3
listen = 127.0.0.1
log_path = /var/log/dovecot.log
ssl = required
ssl_cert = <{CERT}
ssl_key = <{KEY}
service imap-login {{
  inet_listener imap {{
    port = PORT
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = PORT2
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home=/tmp
}}
""",
        command=("dovecot", "-F"),
    ),
    "slapd": Server(
        configuration="/etc/ldap/slapd.conf",
        text=f"""\
include /etc/ldap/schema/core.schema
TLSCertificateFile {CERT}
TLSCertificateKeyFile {KEY}
""",
        command=("slapd", "-d", "0", "-h", "ldap://127.0.0.1:PORT", "-f", "/etc/ldap/slapd.conf"),
    ),
    "mariadb": Server(
        configuration="/etc/mysql/my.cnf",
        text=f"""\
[mariadbd]
user = mysql
port = PORT
bind-address = 127.0.0.1
datadir = /var/lib/mysql
socket = /run/mysqld/mysqld.sock
skip-innodb
default-storage-engine = MyISAM
open-files-limit = 1024
skip-grant-tables
skip-networking = 0
ssl_cert = {CERT}
ssl_key = {KEY}
[client]
socket = /run/mysqld/mysqld.sock
""",
        prepare="mkdir -p /var/lib/mysql /run/mysqld; chown mysql /var/lib/mysql /run/mysqld",
        command=("mariadbd",),
        keys="mysql",
    ),
    "mosquitto": Server(
        configuration="/etc/mosquitto/mosquitto.conf",
        text=f"""\
listener PORT 127.0.0.1
allow_anonymous true
certfile {CERT}
keyfile {KEY}
""",
        command=("mosquitto", "-c", "/etc/mosquitto/mosquitto.conf"),
        keys="mosquitto",
    ),
    "postgresql": Server(
        configuration="/var/lib/postgresql/main/postgresql.conf",
        text=f"""\
port = PORT
listen_addresses = '127.0.0.1'
unix_socket_directories = '/run/postgresql'
fsync = off
ssl = on
ssl_cert_file = '{CERT}'
ssl_key_file = '{KEY}'
""",
        more={
            "/var/lib/postgresql/main/pg_hba.conf": """\
local all postgres peer
hostssl all all 127.0.0.1/32 scram-sha-256
""",
        },
        prepare="mkdir -p /run/postgresql; chown postgres /run/postgresql; cd /;"
        # As Debian's package has it.
        " echo 'CREATE ROLE postgres SUPERUSER LOGIN'"
        " | runuser -u postgres -- BIN/postgres --single -D /var/lib/postgresql/main postgres",
        command=("runuser", "-u", "postgres", "--", "BIN/postgres", "-D", "/var/lib/postgresql/main"),
        keys="postgres",
    ),
}


PACKAGED_AS = {"apache": "apache2", "mysql": "mariadb"}
"""The servers of presets that have another name in Debian."""

BROKEN: Mapping[str, tuple[str, str]] = {
    "nginx": ("listen ", "lissten "),
    "apache": ("SSLEngine", "SSLEngin"),
    "haproxy": ("bind ", "bimd "),
    "caddy": ("    tls ", "    tlz "),
    "postfix": ("inet_interfaces = 127.0.0.1", "inet_interfaces = nowhere"),
    "dovecot": ("ssl = required", "ssl = requirred"),
    "postgresql": ("fsync = off", "fsync = maybe"),
    "mysql": ("skip-innodb", "skip-innodbs = 1"),
}
"""By preset: what to replace in its server's configuration so that nothing accepts it any more."""


def programs() -> binaries.Programs:
    """All of them but PostgreSQL, from Debian's packages, unpacked in the cache."""
    root = debian.unpacked(*PACKAGES)
    return binaries.Programs(folder=root / "usr" / "sbin", source=f"Debian's packages {', '.join(PACKAGES)}, unpacked")


@dataclass(slots=True, kw_only=True)
class Running:
    """A server that has been set up, and its ports."""

    machine: Machine
    name: str
    server: Server
    ports: tuple[int, int]
    files: Mapping[str, str]

    def write(self, change: Callable[[str], str] = str) -> None:
        """Write its configuration, changed so."""
        for path, text in {**self.server.more, self.server.configuration: change(self.server.text)}.items():
            self.machine.write(path, self.filled(text))

    def start(self) -> None:
        """Start it, until it accepts connections."""
        command = (self.filled(word) for word in self.server.command)
        self.machine.start(self.name, *command, port=self.ports[0], environment=self.server.environment)

    def stop(self) -> None:
        """End it with all its processes."""
        self.machine.stop(self.name)

    def filled(self, text: str) -> str:
        """The text, with this server's own in place of the words that stand for it."""
        words = {
            "PORT2": str(self.ports[1]),
            "PORT": str(self.ports[0]),
            "BIN": str(binaries.postgres().folder),
            **self.files,
        }
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        return text


def set_up(machine: Machine, name: str, files: Mapping[str, str] | None = None) -> Running:
    """Its configuration is written, and its folders are made; the certificate has to be there before its start.

    `files`: other paths in place of `CERT`, `KEY` and `COMBINED`.
    """
    server = SERVERS[name]
    ports = (free_port(), free_port())
    running = Running(machine=machine, name=name, server=server, ports=ports, files=files or {})
    if name == "postgresql":
        machine.must("mkdir", "-p", "/var/lib/postgresql")
        machine.must("cp", "--archive", str(new_cluster()), "/var/lib/postgresql/main")
    running.write()
    if server.prepare:
        machine.must("sh", "-e", "-c", running.filled(server.prepare))
    return running


def put(machine: Machine, fullchain: bytes, privkey: bytes, *, keys: str = "root") -> None:
    """The pair in the files that all of them read, as a person would put it there."""
    folder = machine.folder("/etc/ssl/knit")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in ((CERT, fullchain), (KEY, privkey), (COMBINED, privkey + fullchain)):
        machine.folder(path).write_bytes(content)
    for path in (KEY, COMBINED):
        machine.must("chown", f"root:{keys}", path)
        machine.must("chmod", "640", path)
