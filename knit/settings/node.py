"""Settings of a node. Frozen; secrets never show in repr."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from knit.errors import Misconfigured
from knit.settings.environment import Environment
from knit.settings.variables import SETTINGS, refuse_unknown, required


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What `knit watch` needs. `child_environment` is for the programs it starts: nothing of knit's own."""

    valkey_url: str = field(repr=False)
    index_key: str
    watch_interval: timedelta
    reload_cmd: str | None
    reload_timeout: timedelta
    roots: tuple[str, ...] | None
    state_dir: str
    log_level: str
    child_environment: Mapping[str, str] = field(repr=False)
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
