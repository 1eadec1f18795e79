"""Makes a Provider of an entry of lego's table."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from knit.errors import Misconfigured
from knit.ports.solving import Solver, Timing
from knit.providers.base import PAUSE, Knobs, Provider, Runtime, Values, Variable
from knit.providers.lego.answers import INSTALL
from knit.providers.lego.solver import Lego, LegoClears, LegoOneValue, Setup
from knit.providers.lego.table import Entry

ONE_VALUE = frozenset(
    {
        *("cloudru", "ddnss", "dnshomede", "dode", "freemyip", "joker", "mittwald", "myaddr", "otc", "rackspace"),
        *("rcodezero", "sonic", "ultradns"),
    }
)
"""Codes whose provider, or what lego does with it, keeps one TXT value at a name."""

CLEARS = frozenset(
    {
        *("alidns", "bindman", "bluecat", "clouddns", "cloudns", "designate", "dnsimple", "dnsmadeeasy", "dyn", "f5xc"),
        *("huaweicloud", "namedotcom", "ns1", "tencentcloud", "vegadns", "versio"),
    }
)
"""Codes where lego, asked to remove one value, removes whatever it finds at the name, or the first that it finds."""

_PROCESS = (
    *("PATH", "HOME", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_SHORTEST, _MARGIN, _CALLS = 120.0, 30.0, 12
_SDK_PREFIXES = ("AWS_", "OS_")
_HELP = {
    "timeout": "seconds until an unseen record counts as failed",
    "interval": "seconds between two looks for the record",
    "ttl": "TTL of the TXT record in seconds",
    "http": "seconds one API call may take",
    "pause": PAUSE,
}
_ONE = "One TXT value at a name: a name and its wildcard are proved one after the other."
_CLEARS = "lego removes all TXT values of a name at once, also those of others: one certificate at a time has a name."
_SLOW = "Written to by one certificate at a time, and its names are proved one after the other."
_REMEMBERS = "What a killed worker leaves behind must be removed by hand: lego then no longer knows the record's id."


def described(entry: Entry) -> Provider:
    """What knit says of the provider. Names and defaults are lego's."""
    required = tuple(tuple(_variable(entry, names) for names in wanted) for wanted in entry.required)
    also = tuple(_variable(entry, (name,), default) for name, default in entry.also.items())
    return Provider(
        code=entry.code,
        title=entry.name,
        url=f"https://go-acme.github.io/lego/dns/{entry.code}/",
        required=required,
        variables=also,
        knobs=_knobs(entry),
        build=lambda values, runtime: _build(entry, values, runtime),
        rights=f"what lego's page on {entry.name} asks for",
        aliases=entry.aliases,
        note=" ".join(_notes(entry)),
    )


def setup(entry: Entry, values: Values) -> Setup:
    """What lego gets to see of the settings: this provider's variables, and of the process's only the ground."""
    return Setup(
        code=entry.code,
        values={**_unknown(entry, values), **values.named(_names(entry, values))},
        environment=values.named(_PROCESS),
        alone=entry.sequential,
        deadline=patience(_knobs(entry).timing(values)),
    )


def solver(entry: Entry, account: Setup, values: Values, runtime: Runtime) -> Lego:
    """The solver for one account."""
    timing = _knobs(entry).timing(values)
    if runtime.trust.file is not None:
        environment = {**account.environment, "SSL_CERT_FILE": runtime.trust.bundle()}
        account = replace(account, environment=environment)
    kind = LegoOneValue if entry.code in ONE_VALUE else LegoClears if entry.code in CLEARS else Lego
    return kind(account, timing, runtime)


def patience(timing: Timing) -> float:
    """How long (seconds) one call of lego may take.

    A provider of lego may make a dozen calls of the API, each with its own deadline, and some wait until all name
    servers have the record, for as long as records may take to show.
    """
    return max(_SHORTEST, _MARGIN + timing.timeout + _CALLS * timing.http)


def _build(entry: Entry, values: Values, runtime: Runtime) -> Solver:
    if find_spec("lego_bridge") is None:
        raise Misconfigured(INSTALL)
    return solver(entry, setup(entry, values), values, runtime)


def _names(entry: Entry, values: Values) -> list[str]:
    """Every name lego may read.

    Of a second account's alternatives only the one it fills in: lego, which knows no accounts, might prefer another.
    """
    chosen = entry.required[values.choose(described(entry).required)]
    alternatives = (chosen,) if values.is_second_account else entry.required
    needed = [name for wanted in alternatives for names in wanted for name in names]
    knobs = [name for knob in _knobs(entry).variables for name in knob.names]
    return [*needed, *entry.also, *knobs]


def _unknown(entry: Entry, values: Values) -> dict[str, str]:
    """What is set under the provider's prefixes besides: a later lego, and the vendors' libraries in it, read more."""
    prefixes, known = _prefixes(entry), _needed(entry)
    return {
        name: value
        for name, value in values.for_program().items()
        if name.startswith(prefixes) and "__" not in name and name.removesuffix("_FILE") not in known
    }


def _prefixes(entry: Entry) -> tuple[str, ...]:
    named = {*entry.also, *_needed(entry)}
    sdk = [prefix for prefix in _SDK_PREFIXES if any(name.startswith(prefix) for name in named)]
    return (_knobs(entry).timeout.name.removesuffix("PROPAGATION_TIMEOUT"), *entry.spelled, *sdk)


def _needed(entry: Entry) -> frozenset[str]:
    return frozenset(name for wanted in entry.required for names in wanted for name in names)


def _variable(entry: Entry, names: tuple[str, ...], default: str | None = None) -> Variable:
    help_text = f"see lego's page on {entry.name}"
    return Variable(names=names, help=help_text, default=default, secret=default is None)


def _knobs(entry: Entry) -> Knobs:
    main = entry.code.upper()
    timeout = _knob(entry, "timeout", (f"{main}_PROPAGATION_TIMEOUT", 60))
    interval = _knob(entry, "interval", (f"{main}_POLLING_INTERVAL", 2))
    assert timeout is not None
    assert interval is not None
    return Knobs(
        timeout=timeout,
        interval=interval,
        ttl=_knob(entry, "ttl"),
        http=_knob(entry, "http"),
        pause=_knob(entry, "pause") if entry.sequential else None,
    )


def _knob(entry: Entry, kind: str, absent: tuple[str, int] | None = None) -> Variable | None:
    found = entry.knobs.get(kind, absent)
    if found is None:
        return None
    name, default = found
    rest = next((name.removeprefix(prefix) for prefix in entry.spelled if name.startswith(prefix)), None)
    others = () if rest is None else tuple(f"{prefix}{rest}" for prefix in entry.spelled)
    return Variable(names=tuple(dict.fromkeys((name, *others))), help=_HELP[kind], default=str(default))


def _notes(entry: Entry) -> list[str]:
    said = {
        _ONE: entry.code in ONE_VALUE,
        _CLEARS: entry.code in CLEARS,
        _SLOW: entry.sequential and entry.code not in ONE_VALUE,
        _REMEMBERS: entry.remembers,
    }
    return [note for note, applies in said.items() if applies]
