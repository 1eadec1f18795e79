"""What each process would do with what is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from knit.core.model.issuer import Terms
from knit.core.model.places import NodeFile
from knit.errors import Misconfigured
from knit.settings.central import Central, Scheduling, Worker, cname_disabled, queue_url
from knit.settings.environment import Environment
from knit.settings.issuers import described
from knit.settings.node import NodeSettings, node
from knit.settings.variables import LIST, SETTINGS, Setting, refuse_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable that is set in this environment.

    `value` is None where it is secret; `error` is why processes would not start with it.
    """

    name: str
    value: str | None
    readers: tuple[str, ...]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that is set here. `issuers_from` says where the issuers are described, `error` what is wrong with that.

    `node` is what the node file describes, `node_from` is what it is called, `node_error` what is wrong with it; all
    None without one. `roots` are those that a value's own paths are held against. `processes` says of each why it would
    not start here; None of one that would.
    """

    variables: tuple[Variable, ...]
    issuers_from: str
    default: tuple[str, ...]
    issuers: tuple[Terms, ...]
    error: str | None
    node_from: str | None
    node: NodeFile | None
    node_error: str | None
    roots: tuple[str, ...] | None
    processes: Mapping[str, str | None]

    @property
    def wrong(self) -> bool:
        """Whether something is set that cannot be. What is not set is a process's of another machine, perhaps."""
        return self.error is not None or self.node_error is not None or any(one.error for one in self.variables)


CNAME: Final = "LEGO_DISABLE_CNAME_SUPPORT"

PROCESSES: Final[Mapping[str, Callable[[Environment], object]]] = MappingProxyType(
    {
        LIST: Central.read,
        "knit renew": lambda env: Worker.read(env, queue_required=False),
        "scheduler": lambda env: Scheduling.read(env, queue_required=True),
        "worker": lambda env: Worker.read(env, queue_required=True),
        "knit watch": NodeSettings.read,
    }
)


def checked(env: Environment) -> Found:
    """Raises nothing."""
    from_ = env.origin("KNIT_ISSUERS") if "KNIT_ISSUERS" in env else "the KNIT_ACME_ variables"
    default: tuple[str, ...] = ()
    issuers: tuple[Terms, ...] = ()
    try:
        who = described(env)
        default, issuers, error = who.default, who.terms, None
        who.openable()
    except Misconfigured as wrong:
        error = str(wrong)
    described_node, node_error = _node(env)
    processes = {name: _why_not(read, env) for name, read in PROCESSES.items()}
    return Found(
        variables=(*_known(env), *_legos(env), *_unknown(env)),
        issuers_from=from_,
        default=default,
        issuers=issuers,
        error=error,
        node_from=env.origin("KNIT_NODE") if "KNIT_NODE" in env else None,
        node=described_node,
        node_error=node_error,
        roots=_roots(env),
        processes=processes,
    )


def _node(env: Environment) -> tuple[NodeFile | None, str | None]:
    if "KNIT_NODE" not in env:
        return None, None
    try:
        return node(env), None
    except Misconfigured as wrong:
        return None, str(wrong)


def _roots(env: Environment) -> tuple[str, ...] | None:
    try:
        found: tuple[str, ...] | None = SETTINGS["KNIT_WATCH_ROOTS"].read(env)
    except Misconfigured:
        return None  # The variable itself is told as wrong.
    return found


def _known(env: Environment) -> Iterator[Variable]:
    for setting in SETTINGS.values():
        if setting.name in env:
            error, value = _error(setting, env), None
            if error is None and not setting.secret:
                value = _value(setting, env)
            yield Variable(name=setting.name, value=value, readers=setting.readers, error=error)


def _value(setting: Setting, env: Environment) -> str:
    text = env[setting.name]
    return text if "\n" not in text else env.origin(setting.name)


def _error(setting: Setting, env: Environment) -> str | None:
    try:
        if setting.name == "KNIT_QUEUE_URL":
            queue_url(env, must=False)
        setting.read(env)
    except Misconfigured as wrong:
        return str(wrong)
    return None


def _legos(env: Environment) -> Iterator[Variable]:
    """What knit reads of lego's own, beside what describes issuers."""
    if (value := env.get(CNAME)) is not None:
        try:
            cname_disabled(env)
            error = None
        except Misconfigured as wrong:
            error = str(wrong)
        yield Variable(name=CNAME, value=value, readers=SETTINGS["KNIT_DNS_RESOLVERS"].readers, error=error)


def _unknown(env: Environment) -> Iterator[Variable]:
    for name in sorted(env):
        try:
            refuse_unknown(Environment({name: env[name]}))
        except Misconfigured as wrong:
            yield Variable(name=name, value=None, readers=(), error=str(wrong))


def _why_not(read: Callable[[Environment], object], env: Environment) -> str | None:
    try:
        read(env)
    except Misconfigured as wrong:
        return str(wrong)
    return None
