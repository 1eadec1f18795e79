"""A systemd unit for `knit watch`, with a sandbox that leaves a node what it needs and nothing else.

Directives are those of systemd.exec(5) and systemd.service(5), version 247 (Debian 11) and later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knit.core.model.places import NodeFile, Place

WATCHDOG = "10min"
"""Longer than the longest step in which a node says nothing: 50 values from a server that sends as slowly as it may."""

START = "15min"
"""For the first look at everything: 10,000 pairs on a slow disk, a reload, a Valkey that does not answer."""

STATE = "/var/lib/"
_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 -- nothing is made there

_BEFORE = r"(?:(?:if|then|else|do|while|until|exec|command|nice|!|\{|\w+=\S*)\s+)*"
_PROGRAM = re.compile(rf"(?:^|[;&|(\n])\s*{_BEFORE}([^\s;&|()]+)")
"""The first word of each command of a line for the shell."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a program needs that is run as a check or a reload: capabilities, and folders that it writes to."""

    why: str
    capabilities: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


_SIGNALS = Need("it sends signals to processes of other users", ("CAP_KILL",))

NEEDS = {
    "apachectl": Need("it makes a folder below /run and gives it away", ("CAP_CHOWN",), ("/run",)),
    "mysqld": Need(
        "it looks at its folder as the account that it runs as", ("CAP_SETGID", "CAP_SETUID"), ("/var/lib/mysql",)
    ),
    "nginx": Need(
        "`nginx -t` opens its PID file and its logs for writing, and binds its ports",
        ("CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"),
        ("/run", "/var/log/nginx", "/var/lib/nginx"),
    ),
    "kill": _SIGNALS,
    "killall": _SIGNALS,
    "pkill": _SIGNALS,
    "postfix": Need(
        "it looks at its queue, as its own account too",
        ("CAP_DAC_OVERRIDE", "CAP_SETGID", "CAP_SETUID"),
        ("/var/spool/postfix",),
    ),
    "runuser": Need("it becomes another user", ("CAP_SETGID", "CAP_SETUID")),
}
"""By the program's name. One that is not here is run with no more than the node has itself."""

_SANDBOX = (
    "ProtectSystem=strict",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "KeyringMode=private",
    "UMask=0022",
    "LimitCORE=0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whether files of others than this process's user, or of other groups than its own, have to be kept or made."""

    users: bool = False
    groups: bool = False

    def __or__(self, other: Owners) -> Owners:
        return Owners(users=self.users or other.users, groups=self.groups or other.groups)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What root needs for them."""
        if self.users:
            # To give a file away, to set the mode of one that was given away, and to read and replace it later.
            return ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
        return ("CAP_CHOWN",) if self.groups else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a node's unit is made from. All paths are absolute.

    `command` starts the node, its first word a path; `folders` are those that it writes to; `reads` other files that
    it must see; `runs` its checks and reloads.
    """

    command: tuple[str, ...]
    environment_file: str
    state_dir: str
    folders: tuple[str, ...]
    owners: Owners
    reads: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def unit(service: Service) -> str:
    """The text of the unit."""
    return "".join(f"{line}\n" for line in (*_head(), "", *_service(service), "", *_foot()))


def folders_of(place: Place) -> tuple[str, ...]:
    """The folders that a place's files are in: of a path with `{name}` in a folder's name, the one above."""
    paths = (spec.path for spec in place.files)
    return tuple(dict.fromkeys(path.partition("{name}")[0].rpartition("/")[0] or "/" for path in paths))


def commands_of(file: NodeFile) -> tuple[str, ...]:
    """All checks and reloads, each once."""
    runs = (run for place in file.places.values() for run in (place.check, place.reload))
    return tuple(dict.fromkeys(run for run in runs if run is not None))


def owners_of(file: NodeFile) -> Owners:
    """Those that the file names."""
    specs = [spec for place in file.places.values() for spec in place.files]
    return Owners(
        users=any(spec.owner not in {None, "root", "0"} for spec in specs),
        groups=any(spec.group not in {None, "root", "0"} for spec in specs),
    )


def _head() -> Iterator[str]:
    yield "# Printed by `knit node unit`: print it again when the folders, owners or commands of this node change."
    yield "[Unit]"
    yield "Description=TLS certificates of this node (knit watch)"
    yield "Wants=network-online.target"
    yield "After=network-online.target"


def _foot() -> Iterator[str]:
    yield "[Install]"
    yield "WantedBy=multi-user.target"


def _service(service: Service) -> Iterator[str]:
    yield "[Service]"
    yield "Type=notify"
    yield f"EnvironmentFile={_escaped(service.environment_file)}"
    yield from _state(service.state_dir)
    yield f"ExecStart={_run(service.command)}"
    yield "ExecReload=/bin/kill -HUP $MAINPID"
    yield "Restart=always"
    yield "RestartSec=5"
    yield f"WatchdogSec={WATCHDOG}"
    yield f"TimeoutStartSec={START}"
    yield "TimeoutStopSec=30"
    yield from _rights(service)
    yield from _views(service)
    yield from _SANDBOX


def _state(folder: str) -> Iterator[str]:
    """Where the folder cannot be one that systemd makes, it is made before the sandbox is."""
    if folder.startswith(STATE):
        yield f"StateDirectory={_escaped(folder.removeprefix(STATE))}"
        yield "StateDirectoryMode=0700"
    else:
        yield f"ExecStartPre=+/bin/mkdir -p -m 0700 {_run([folder])}"


def _rights(service: Service) -> Iterator[str]:
    yield from (f"# {program}: {need.why}" for program, need in _needs(service.runs).items())
    yield "NoNewPrivileges=yes"
    yield f"CapabilityBoundingSet={' '.join(capabilities(service))}"


def _views(service: Service) -> Iterator[str]:
    more = [path for need in _needs(service.runs).values() for path in need.writes]
    state = [] if service.state_dir.startswith(STATE) else [service.state_dir]
    # A folder that is not there must not keep the node from all others.
    for path in dict.fromkeys((*sorted(service.folders), *state, *more)):
        yield f"ReadWritePaths={_words([f'-{path}'])}"
    seen = (*service.folders, *service.reads, service.state_dir, service.command[0], service.environment_file)
    yield f"ProtectHome={'read-only' if _any_below(seen, _HOMES) else 'yes'}"
    yield f"PrivateTmp={'no' if _any_below(seen, _TEMPORARY) else 'yes'}"


def _any_below(paths: Iterable[str], folders: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(folders) for path in paths)


def capabilities(service: Service) -> tuple[str, ...]:
    """All that the node and what it runs may do beyond other users, in their order."""
    needs = _needs(service.runs).values()
    return tuple(sorted({*service.owners.capabilities, *(one for need in needs for one in need.capabilities)}))


def _needs(runs: Iterable[str]) -> dict[str, Need]:
    """By the program's name, what checks and reloads need beyond what a node does."""
    programs = {word.rpartition("/")[2] for run in runs for word in _PROGRAM.findall(run)}
    return {program: NEEDS[program] for program in sorted(programs & NEEDS.keys())}


def _run(words: Iterable[str]) -> str:
    """In a line that is run, `$` begins a variable: systemd.service(5)."""
    return _words(words).replace("$", "$$")


def _words(words: Iterable[str]) -> str:
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """One word of a line of systemd's: quoted where it would be several."""
    plain = _escaped(word)
    if not any(sign in word for sign in " \t\"'\\;"):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """`%` begins a specifier: systemd.unit(5)."""
    return text.replace("%", "%%")
