"""All KNIT_* variables: the one table that settings are read from and docs/configuration.md is printed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from knit.core import words
from knit.core.near import near
from knit.errors import Misconfigured
from knit.settings import environment as parse
from knit.settings.environment import Environment

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
PAGE = "docs/configuration.md"
VALKEY_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable. `default` is the text used when it is unset; None means it has no value then.

    `readers` are the processes that read it. A secret's value never appears in an error.
    """

    name: str
    parser: Callable[[str], Any]
    default: str | None
    help: str
    readers: tuple[str, ...]
    secret: bool = False
    unset: str = "unset"

    def read(self, env: Environment) -> Any:
        """The parsed value, or None when it is unset and has no default. Raises Misconfigured."""
        raw = env.get(self.name, self.default)
        if raw is None:
            return None
        try:
            return self.parser(raw)
        except ValueError as error:
            shown = "(hidden)" if self.secret else repr(raw)
            message = f"{self.name}={shown}: must be {error}"
            raise Misconfigured(message) from None


def report_url(value: str) -> str:
    """A URL of a Valkey server. The API, which will take reports too, is not there yet."""
    if value.startswith("https://"):
        message = (
            "a URL starting with redis:// or rediss://: reports to https:// need the API, which this version of knit "
            "does not have"
        )
        raise ValueError(message)
    return parse.url(*VALKEY_SCHEMES)(value)


def report_interval(value: str) -> timedelta:
    """Whole seconds, from one second to what the format of reports allows."""
    from knit.core.report import LONGEST  # Most commands read no reports, and this reads what they are made of.

    found = words.duration(value, LONGEST)
    if found < timedelta(seconds=1) or found % timedelta(seconds=1):
        message = f"whole seconds, from 1s to {words.in_days(LONGEST)}"
        raise ValueError(message)
    return found


def metrics_file(value: str) -> str:
    """node_exporter reads no other files."""
    if not value.endswith(".prom"):
        message = "an absolute path that ends in .prom"
        raise ValueError(message)
    return parse.absolute_path(value)


LIST = "knit add/remove/list/..."
CENTRE = (LIST, "knit renew", "scheduler", "worker")
ISSUING = ("knit renew", "worker")
PASSES = ("knit renew", "scheduler")
NODE = ("knit watch",)

TABLE: tuple[Setting, ...] = (
    Setting(
        "KNIT_DB_URL",
        parse.postgres,
        None,
        "PostgreSQL with the list of certificates and the journal, "
        "`postgres://user:password@host/database?sslmode=...`. "
        "Several hosts, `?host=/run/postgresql` and `host=... dbname=...` are taken too, and PgBouncer in any mode.",
        CENTRE,
        secret=True,
        unset="required",
    ),
    Setting(
        "KNIT_VALKEY_URL",
        parse.url(*VALKEY_SCHEMES),
        None,
        "The certificate Valkey. The centre needs the primary; a node may use a replica. "
        "`redis://`, `rediss://` (TLS), `valkey://`, `valkeys://` or `unix://`, credentials in the URL.",
        (*ISSUING, *NODE),
        secret=True,
        unset="required",
    ),
    Setting(
        "KNIT_QUEUE_URL",
        parse.url("redis", "rediss", "valkey", "valkeys", "unix", "amqp", "amqps"),
        None,
        "The message queue between scheduler, workers and CLI. Must not be the certificate Valkey: its contents are "
        "replicated to every node.",
        CENTRE,
        secret=True,
        unset="in memory for `knit renew`; required for scheduler and worker",
    ),
    Setting(
        "KNIT_INDEX_KEY",
        parse.text,
        "knit:index",
        "Valkey key of the index set. Everything else knit keeps there is named after it.",
        (LIST, *ISSUING, *NODE),
    ),
    Setting(
        "KNIT_ISSUERS",
        parse.text,
        None,
        "The text of a file that describes [several issuers](#the-file-of-issuers); mostly `KNIT_ISSUERS_FILE`, its "
        "path. Then no `KNIT_ACME_` variable may be set.",
        (LIST, *ISSUING),
        unset="one issuer, `acme`, by the variables below",
    ),
    Setting(
        "KNIT_ACME_DIRECTORY",
        parse.url("https"),
        LETS_ENCRYPT,
        "Directory URL of the CA (RFC 8555 section 7.1.1). A switch to another one has to be confirmed with "
        "`knit issuers accept acme`, and makes every certificate due.",
        (LIST, *ISSUING),
    ),
    Setting(
        "KNIT_ACME_EMAIL",
        parse.text,
        None,
        "Contact address of the ACME account. Another one is sent to the CA after a restart.",
        ISSUING,
        unset="no contact; refused by CAs that want one",
    ),
    Setting(
        "KNIT_ACME_CA_FILE",
        parse.readable_file,
        None,
        "PEM file with the roots that vouch for the CA's own web server, and whose signature alone makes a certificate "
        "whole when a CA sends it without its issuer's. `LEGO_CA_CERTIFICATES` works too.",
        ISSUING,
        unset="the system's roots",
    ),
    Setting(
        "KNIT_ACME_HOSTS",
        parse.hosts,
        None,
        "More hosts of the CA, `host` or `host:port`, separated by commas: where its orders may lead besides the host "
        "of the directory and those of the endpoints named in it.",
        ISSUING,
        unset="none",
    ),
    Setting(
        "KNIT_ACME_DEACTIVATE",
        words.flag,
        "true",
        "Give up the proofs of control of a certificate's names (RFC 8555 section 7.5.2) once it is issued, where the "
        "CA goes along: one request per name.",
        ISSUING,
    ),
    Setting(
        "KNIT_ACME_EAB_KID",
        parse.text,
        None,
        "Key id of the external account binding (RFC 8555 section 7.3.4).",
        ISSUING,
    ),
    Setting(
        "KNIT_ACME_EAB_HMAC",
        parse.base64url,
        None,
        "HMAC key of the external account binding, base64url as the CA gave it.",
        ISSUING,
        secret=True,
    ),
    Setting(
        "KNIT_SECRET_KEY",
        parse.secret_keys,
        None,
        "Seals the keys of ACME accounts in PostgreSQL: 32 random bytes in base64, as `openssl rand -base64 32` gives. "
        "Several, separated by commas: the first seals, all open. `knit account seal` seals what lies there already.",
        (*ISSUING, "knit account", "knit issuers test"),
        secret=True,
        unset="account keys lie in clear, with a warning at each start",
    ),
    Setting(
        "KNIT_RENEW_THRESHOLD_DAYS",
        parse.integer(1, 3650),
        None,
        "Renew with so many days left. Never in the first third of a certificate's life. "
        "Without it: 30 days or a third of the lifetime, whichever is less (half, for lifetimes under 10 days).",
        (LIST, *ISSUING),
        unset="30, or a third of the lifetime if that is less",
    ),
    Setting("KNIT_RENEW_INTERVAL", words.duration, "12h", "Time between two passes.", PASSES),
    Setting(
        "KNIT_RENEW_CONCURRENCY",
        parse.integer(1, 400),
        "25",
        "Certificates in flight per worker process.",
        ISSUING,
    ),
    Setting(
        "KNIT_DNS_RESOLVERS",
        parse.resolvers,
        None,
        "Comma-separated recursive resolvers for CNAME, zone and propagation look-ups.",
        ISSUING,
        unset="the system's resolvers",
    ),
    Setting(
        "KNIT_DNS_TIMEOUT",
        words.duration,
        "10s",
        "Deadline of one DNS question. Finding where a name is takes at most three times as long, "
        "or 30 s if that is more.",
        ISSUING,
    ),
    Setting(
        "KNIT_DNS_DISABLE_RECURSIVE_CHECK",
        words.flag,
        "false",
        "Do not require the recursive resolvers to show a challenge record, only the zone's own servers.",
        ISSUING,
    ),
    Setting(
        "KNIT_DNS_PROPAGATION_WAIT",
        words.duration_or_zero,
        None,
        "Wait this long after setting challenge records instead of checking that they are visible.",
        ISSUING,
        unset="check until visible",
    ),
    Setting(
        "KNIT_DNS_CA_FILE",
        parse.readable_file,
        None,
        "PEM file with roots that vouch for the APIs of DNS providers and for acme-dns, besides the system's.",
        ISSUING,
        unset="the system's roots",
    ),
    Setting(
        "KNIT_NODE",
        parse.text,
        None,
        "The text of a file that says which certificates this node takes, where their files go, and what is run then: "
        "[the node file](operations/node-file.md); mostly `KNIT_NODE_FILE`, its path. The file must belong to root or "
        "to the watcher's user, and be writable by nobody else. Where it describes places, `KNIT_RELOAD_CMD` may not "
        "be set.",
        NODE,
        unset="all certificates, to the paths in their values, with `KNIT_RELOAD_CMD`",
    ),
    Setting("KNIT_WATCH_INTERVAL", words.duration, "60s", "Time between two looks at Valkey.", NODE),
    Setting(
        "KNIT_WATCH_ROOTS",
        parse.directories,
        None,
        "Colon-separated directories below which published values may name files. Paths in a node file need no leave.",
        NODE,
        unset="anywhere, with a warning",
    ),
    Setting(
        "KNIT_RELOAD_CMD",
        parse.text,
        None,
        "Shell command run once after a pass that wrote files; repeated until it has succeeded.",
        NODE,
    ),
    Setting(
        "KNIT_RELOAD_TIMEOUT",
        words.duration,
        "30s",
        "The reload command is killed, with its process group, after this.",
        NODE,
    ),
    Setting(
        "KNIT_STATE_DIR",
        parse.absolute_path,
        None,
        "Node state: the journal of files being written, a reload still owed, the last revision seen.",
        NODE,
        unset="/var/lib/knit, or `$XDG_STATE_HOME/knit` (`~/.local/state/knit`) when not root",
    ),
    Setting(
        "KNIT_REPORT_URL",
        report_url,
        None,
        "Where a node [reports what it has](operations/served.md): `redis://` or `rediss://` of a primary whose user "
        "may write the node's own key and nothing else. The centre reads the reports there.",
        (LIST, *ISSUING, *NODE),
        secret=True,
        unset="a node reports nothing; the centre reads `KNIT_VALKEY_URL`",
    ),
    Setting(
        "KNIT_REPORT_INTERVAL",
        report_interval,
        "10m",
        "Longest time between two reports of a node. It counts as silent after three.",
        NODE,
    ),
    Setting(
        "KNIT_METRICS_TEXTFILE",
        metrics_file,
        None,
        "File that a node writes [its metrics](operations/monitoring.md#metrics-of-a-node) to, for node_exporter's "
        "textfile collector: its name must end in `.prom`.",
        NODE,
    ),
    Setting(
        "KNIT_LOG_LEVEL",
        parse.word("debug", "info", "warn", "error"),
        "info",
        "Least severe level that is logged.",
        ("all",),
    ),
)

SETTINGS = {setting.name: setting for setting in TABLE}


def refuse_unknown(env: Environment) -> None:
    """Raise Misconfigured for a KNIT_* variable that nobody reads: most likely a typing error."""
    known = {name for setting in TABLE for name in (setting.name, f"{setting.name}_FILE")}
    for name in sorted(env):
        if name.startswith("KNIT_") and name not in known:
            message = f"{name}: no such setting ({_meant(name)})"
            raise Misconfigured(message)


def _meant(name: str) -> str:
    known = SETTINGS if not name.endswith("_FILE") else (f"{one}_FILE" for one in SETTINGS)
    meant = near(name.removeprefix("KNIT_"), (one.removeprefix("KNIT_") for one in known))
    return f"did you mean {' or '.join(f'KNIT_{one}' for one in meant)}?" if meant else f"{PAGE} has them all"


def required(env: Environment, name: str, why: str = "") -> Any:
    """The value of a variable that must be set. Raises Misconfigured when it is not."""
    value = SETTINGS[name].read(env)
    if value is None:
        message = f"{name} is not set" + (f": {why}" if why else f"; it must be {_expected(name)}")
        raise Misconfigured(message)
    return value


def _expected(name: str) -> str:
    try:
        SETTINGS[name].parser("\0")
    except ValueError as error:
        # Without what is wrong with the text that was tried.
        return str(error).partition(" (")[0]
    return "some text"
