"""Settings of a node. Frozen; secrets never show in repr."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from knit.core.model.places import NodeFile, Place
from knit.errors import Misconfigured
from knit.settings.environment import Environment
from knit.settings.variables import SETTINGS, refuse_unknown, required

ONLY = "default"
"""The place of a node that has no file of places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What `knit watch` needs. `child_environment` is for the programs it starts: nothing of knit's own.

    `node` says what goes where and what is run: by the node file, where there is one (`node_from` is what it is
    called), else everything to the values' own paths, with `reload_cmd`.
    """

    valkey_url: str = field(repr=False)
    index_key: str
    watch_interval: timedelta
    reload_cmd: str | None
    reload_timeout: timedelta
    roots: tuple[str, ...] | None
    state_dir: str
    node: NodeFile
    node_from: str | None
    log_level: str
    child_environment: Mapping[str, str] = field(repr=False)
    report_url: str | None = field(default=None, repr=False)
    report_interval: timedelta = timedelta(minutes=10)
    metrics_textfile: str | None = None
    notify_socket: str | None = None
    watchdog_usec: str | None = None
    watchdog_pid: str | None = None

    @classmethod
    def read(cls, env: Environment) -> NodeSettings:
        """Raises Misconfigured with one line."""
        refuse_unknown(env)
        return cls(
            valkey_url=required(env, "KNIT_VALKEY_URL"),
            index_key=SETTINGS["KNIT_INDEX_KEY"].read(env),
            watch_interval=SETTINGS["KNIT_WATCH_INTERVAL"].read(env),
            reload_cmd=SETTINGS["KNIT_RELOAD_CMD"].read(env),
            reload_timeout=SETTINGS["KNIT_RELOAD_TIMEOUT"].read(env),
            roots=SETTINGS["KNIT_WATCH_ROOTS"].read(env),
            state_dir=SETTINGS["KNIT_STATE_DIR"].read(env) or _state_dir(env),
            node=node(env),
            node_from=env.origin("KNIT_NODE") if "KNIT_NODE" in env else None,
            report_url=SETTINGS["KNIT_REPORT_URL"].read(env),
            report_interval=SETTINGS["KNIT_REPORT_INTERVAL"].read(env),
            metrics_textfile=SETTINGS["KNIT_METRICS_TEXTFILE"].read(env),
            log_level=SETTINGS["KNIT_LOG_LEVEL"].read(env),
            child_environment=_for_children(env),
            notify_socket=env.get("NOTIFY_SOCKET"),
            watchdog_usec=env.get("WATCHDOG_USEC"),
            watchdog_pid=env.get("WATCHDOG_PID"),
        )


def _for_children(env: Environment) -> dict[str, str]:
    # What the service manager has told this process is for no other.
    child = env.child(without="KNIT_")
    return {
        name: value for name, value in child.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    }


def node(env: Environment) -> NodeFile:
    """By the node file where there is one, else by the plain variables. Raises Misconfigured."""
    reload: str | None = SETTINGS["KNIT_RELOAD_CMD"].read(env)
    only = Place(name=ONLY, reload=reload)
    raw: str | None = SETTINGS["KNIT_NODE"].read(env)
    if raw is None:
        return NodeFile(name=host_name(), places={ONLY: only})
    from knit.settings import node_file  # Few nodes need it, and it needs a parser.

    found = node_file.described(env.origin("KNIT_NODE"), raw, name=host_name(), only=only)
    if reload is not None and found.places != {ONLY: only}:
        message = f"KNIT_RELOAD_CMD: cannot be set together with places; say it in {env.origin('KNIT_NODE')} instead"
        raise Misconfigured(message)
    return found


def host_name() -> str:
    """This machine's name, made fit to be a node's."""
    fit = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).lstrip("._-")[:64]
    return fit or "localhost"


def _state_dir(env: Environment) -> str:
    if os.geteuid() == 0:
        return "/var/lib/knit"
    # XDG Base Directory Specification: a relative path there is to be ignored.
    state = env.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return f"{state}/knit"
    if env.get("HOME", "").startswith("/"):
        return f"{env['HOME']}/.local/state/knit"
    message = "KNIT_STATE_DIR is not set, and without HOME there is no default for it"
    raise Misconfigured(message)
