"""What a test can ask of the CA: knobs, behaviours by name, and faults. Records only; nothing here acts."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

DAY_S = 86_400


class BadScript(ValueError):
    """A script with a field that does not exist, or a word that means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the CA treats names. An override with `names` rules every order or authorization that has one of them."""

    names: tuple[str, ...] = ()
    validation: str = "always"
    """`always`, `dns` or `never` (the challenge stays processing)."""
    validation_delay_ms: int = 0
    authz_problem: dict[str, Any] | None = None
    """Fails every validation with this problem document."""
    order_problem: dict[str, Any] | None = None
    """Fails every order after finalize with this problem document."""
    processing_polls: int = 0
    """How many readings of the order, the finalize answer included, still say `processing`."""
    retry_after: str | None = None
    """Sent, as it is, with authorizations and orders that are not settled yet."""
    certificate: str = "good"
    """One of `variants.VARIANTS`."""
    validity_s: int | None = None
    """Lifetime of certificates; None leaves it to the profile, else 90 days."""
    keeps_wildcard: bool = False
    """Authorizations of wildcards show their name with `*.`, and nothing else says so."""
    sparse: bool = False
    """Leave out, or fill with nonsense, all that a client need not read at the time."""
    ari: dict[str, Any] | None = None
    """Body of the renewalInfo answer; None computes a window in the last third of the life."""
    ari_retry_after: str | None = "21600"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A canned misbehaviour, from the `nth` matching request (the first is 1), `times` times; 0 = for ever.

    `act`: `problem` (status, type, detail), `answer` (whatever of status, content_type and body is given), `reset` (TCP
    RST), `drip` (the true body, spread over `seconds`), `huge` (the true body, then blanks up to `size` bytes).
    """

    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    nth: int = 1
    times: int = 1
    when: str = "before"
    """`before` the request is processed, or `after`: then the CA has done what was asked."""
    act: str = "problem"
    flood: str = ""
    """One of `http11.FLOODS`, when `act` is `flood`."""
    status: int | None = None
    type: str = "serverInternal"
    detail: str = "scripted"
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None
    body: str | None = None
    seconds: float = 0
    size: int = 0

    def fits(self, kind: str, names: tuple[str, ...]) -> bool:
        return (not self.kinds or kind in self.kinds) and (not self.names or not set(self.names).isdisjoint(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One entry of the directory's profiles."""

    description: str = ""
    validity_s: int = 90 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Every knob of the CA, in one record that the management interface replaces."""

    delay_ms: int = 0
    """Added to every answer, after the request is processed."""
    delays_ms: dict[str, int] = field(default_factory=dict)
    """The same by kind of request; wins over `delay_ms`."""
    nonce_reject_percent: float = 0
    authz_reuse_percent: float = 0
    eab: dict[str, str] = field(default_factory=dict)
    """Key id to base64url MAC key. When not empty, new accounts must be bound."""
    profiles: dict[str, Profile] = field(default_factory=dict)
    offers_ari: bool = True
    caa_identities: tuple[str, ...] = ()
    """How the CA is called in CAA records; its directory says so when there are any."""
    changes_keys: bool = True
    """Its directory names keyChange."""
    http: str = "1.1"
    """`1.1`, `1.0`, `close` (ends each connection after its answer, and says so) or `ends` (and does not say so)."""
    other_host: str = ""
    """Where all but the directory is, by URL: another name of this machine."""
    order_life_s: int = 7 * DAY_S
    authz_life_s: int = 30 * DAY_S
    clock_offset_s: int = 0
    """Moves the CA's clock, for lifetimes and windows."""
    key_types: tuple[str, ...] = ("EC-256", "EC-384", "RSA-2048", "RSA-3072", "RSA-4096")
    dns_server: str = "127.0.0.1:53"
    """Who is asked when `validation` is `dns`; an address with a port."""
    default: Behaviour = field(default_factory=Behaviour)
    overrides: tuple[Behaviour, ...] = ()

    def behaviour(self, names: Iterable[str]) -> Behaviour:
        """Give what rules these names: the first override that has one of them, else the default."""
        wanted = set(names)
        return next((item for item in self.overrides if not wanted.isdisjoint(item.names)), self.default)

    def delay_s(self, kind: str) -> float:
        return self.delays_ms.get(kind, self.delay_ms) / 1000

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)


def fault_from_wire(wire: Mapping[str, Any]) -> Fault:
    """Read a fault; raise BadScript for fields or words that do not exist."""
    fault = Fault(**_known(Fault, wire))
    _one_of(fault.when, ("before", "after"))
    _one_of(fault.act, ("problem", "answer", "reset", "drip", "huge", "flood"))
    return fault


def behaviour_from_wire(base: Behaviour, wire: Mapping[str, Any]) -> Behaviour:
    """Change some fields of a behaviour; raise BadScript for fields or words that do not exist."""
    behaviour = replace(base, **_known(Behaviour, wire))
    _one_of(behaviour.validation, ("always", "dns", "never"))
    return behaviour


def patched(script: Script, wire: Mapping[str, Any]) -> Script:
    """Change some knobs of a script; raise BadScript for knobs that do not exist."""
    changes = _known(Script, wire)
    if "default" in changes:
        changes["default"] = behaviour_from_wire(script.default, changes["default"])
    base = changes.get("default", script.default)
    if "overrides" in changes:
        changes["overrides"] = tuple(behaviour_from_wire(base, item) for item in changes["overrides"])
    if "profiles" in changes:
        changes["profiles"] = {name: Profile(**_known(Profile, item)) for name, item in changes["profiles"].items()}
    return replace(script, **changes)


class Faults:
    """The faults in force, each with the number of requests that it has matched so far."""

    def __init__(self) -> None:
        self._counted: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        self._counted.append((fault, 0))

    def clear(self) -> None:
        self._counted.clear()

    def strike(self, kind: str, names: tuple[str, ...]) -> Fault | None:
        """Count this request against every fault it matches; give the first that strikes."""
        struck: Fault | None = None
        for index, (fault, seen) in enumerate(self._counted):
            if fault.fits(kind, names):
                self._counted[index] = (fault, seen + 1)
                struck = struck or (fault if _due(fault, seen + 1) else None)
        return struck


def _due(fault: Fault, seen: int) -> bool:
    return seen >= fault.nth and (fault.times == 0 or seen < fault.nth + fault.times)


def _known(record: type, wire: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(wire) - {item.name for item in fields(record)}
    if unknown:
        message = f"{record.__name__} has no {', '.join(sorted(unknown))}"
        raise BadScript(message)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in wire.items()}


def _one_of(word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        message = f"{word!r} is none of {', '.join(words)}"
        raise BadScript(message)
