"""Settings of the centre: CLI, scheduler and workers. Frozen; secrets never show in repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from knit.core.model.issuer import Terms
from knit.core.words import flag
from knit.errors import Misconfigured
from knit.settings.environment import Environment
from knit.settings.issuers import described
from knit.settings.variables import SETTINGS, refuse_unknown, required

if TYPE_CHECKING:
    from knit.core.model.decision import Rules
    from knit.settings.openable import Openable


@dataclass(frozen=True, slots=True, kw_only=True)
class Central:
    """What every command of the centre needs."""

    db_url: str = field(repr=False)
    queue_url: str | None = field(repr=False)
    index_key: str
    issuers: tuple[Terms, ...]
    default: tuple[str, ...]
    threshold: timedelta | None
    log_level: str
    report_url: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, env: Environment) -> Central:
        """Raises Misconfigured with one line."""
        refuse_unknown(env)
        who = described(env)
        return cls(
            db_url=required(env, "KNIT_DB_URL"),
            queue_url=queue_url(env, must=False),
            index_key=SETTINGS["KNIT_INDEX_KEY"].read(env),
            issuers=who.terms,
            default=who.default,
            threshold=_threshold(env),
            log_level=SETTINGS["KNIT_LOG_LEVEL"].read(env),
            report_url=report_url(env),
        )

    @property
    def rules(self) -> Rules:
        """What decides when a certificate is due."""
        return _rules(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """What the scheduler needs. `queue_url` is None only inside `knit renew`."""

    db_url: str = field(repr=False)
    queue_url: str | None = field(repr=False)
    interval: timedelta
    log_level: str

    @classmethod
    def read(cls, env: Environment, *, queue_required: bool) -> Scheduling:
        """Raises Misconfigured with one line."""
        refuse_unknown(env)
        return cls(
            db_url=required(env, "KNIT_DB_URL"),
            queue_url=queue_url(env, must=queue_required),
            interval=SETTINGS["KNIT_RENEW_INTERVAL"].read(env),
            log_level=SETTINGS["KNIT_LOG_LEVEL"].read(env),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """How to look at the DNS. `timeout` is seconds per query; `wait`, seconds, replaces the propagation check."""

    resolvers: tuple[str, ...] | None
    timeout: float
    recursive_check: bool
    wait: float | None
    follow_cname: bool
    ca_file: str | None = None
    ca_folders: tuple[str, ...] = ()

    @classmethod
    def read(cls, env: Environment) -> Dns:
        """Raises Misconfigured with one line."""
        wait = SETTINGS["KNIT_DNS_PROPAGATION_WAIT"].read(env)
        return cls(
            resolvers=SETTINGS["KNIT_DNS_RESOLVERS"].read(env),
            timeout=SETTINGS["KNIT_DNS_TIMEOUT"].read(env).total_seconds(),
            recursive_check=not SETTINGS["KNIT_DNS_DISABLE_RECURSIVE_CHECK"].read(env),
            wait=None if wait is None else wait.total_seconds(),
            follow_cname=not cname_disabled(env),
            ca_file=SETTINGS["KNIT_DNS_CA_FILE"].read(env),
            ca_folders=tuple(folder for folder in env.get("SSL_CERT_DIR", "").split(":") if folder),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a worker needs."""

    db_url: str = field(repr=False)
    valkey_url: str = field(repr=False)
    queue_url: str | None = field(repr=False)
    index_key: str
    threshold: timedelta | None
    concurrency: int
    issuers: tuple[Terms, ...]
    default: tuple[str, ...]
    openable: tuple[Openable, ...]
    secret_keys: tuple[bytes, ...] = field(repr=False)
    dns: Dns
    report_url: str = field(repr=False)
    log_level: str

    @classmethod
    def read(cls, env: Environment, *, queue_required: bool, issues: bool = True) -> Worker:
        """Raises Misconfigured with one line. What never `issues` opens none of the files of its issuers."""
        refuse_unknown(env)
        who = described(env)
        return cls(
            db_url=required(env, "KNIT_DB_URL"),
            valkey_url=required(env, "KNIT_VALKEY_URL"),
            queue_url=queue_url(env, must=queue_required),
            index_key=SETTINGS["KNIT_INDEX_KEY"].read(env),
            threshold=_threshold(env),
            concurrency=SETTINGS["KNIT_RENEW_CONCURRENCY"].read(env),
            issuers=who.terms,
            default=who.default,
            openable=who.openable() if issues else (),
            secret_keys=secret_keys(env),
            dns=Dns.read(env),
            report_url=report_url(env) or "",
            log_level=SETTINGS["KNIT_LOG_LEVEL"].read(env),
        )

    @property
    def rules(self) -> Rules:
        """What decides when a certificate is due."""
        return _rules(self)


def secret_keys(env: Environment) -> tuple[bytes, ...]:
    """What seals and opens account keys; none: they lie in clear. Raises Misconfigured."""
    return SETTINGS["KNIT_SECRET_KEY"].read(env) or ()


def report_url(env: Environment) -> str | None:
    """Where nodes report: the certificate Valkey, unless another server is set for that."""
    found: str | None = SETTINGS["KNIT_REPORT_URL"].read(env) or SETTINGS["KNIT_VALKEY_URL"].read(env)
    return found


def queue_url(env: Environment, *, must: bool) -> str | None:
    """The queue's URL, refused when it is the certificate Valkey's own."""
    queue: str | None = SETTINGS["KNIT_QUEUE_URL"].read(env)
    if queue is None and must:
        message = "KNIT_QUEUE_URL is not set: scheduler and workers meet only there"
        raise Misconfigured(message)
    if queue is not None and queue == SETTINGS["KNIT_VALKEY_URL"].read(env):
        message = "KNIT_QUEUE_URL: must not be the certificate Valkey, whose contents are replicated to the nodes"
        raise Misconfigured(message)
    return queue


def _rules(settings: Central | Worker) -> Rules:
    from knit.core.model.decision import Policy, Rules

    policy = Policy(threshold=settings.threshold)
    return Rules(issuers=settings.issuers, default=settings.default, policy=policy)


def _threshold(env: Environment) -> timedelta | None:
    days = SETTINGS["KNIT_RENEW_THRESHOLD_DAYS"].read(env)
    return None if days is None else timedelta(days=days)


def cname_disabled(env: Environment) -> bool:
    """Lego's own switch. Raises Misconfigured."""
    raw = env.get("LEGO_DISABLE_CNAME_SUPPORT", "false")
    try:
        return flag(raw)
    except ValueError as error:
        message = f"LEGO_DISABLE_CNAME_SUPPORT={raw!r}: must be {error}"
        raise Misconfigured(message) from None
