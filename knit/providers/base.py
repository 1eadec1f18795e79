"""What every DNS provider says of itself (`Provider`), and how its settings reach it (`Values`).

A provider is one file that exposes `PROVIDER`. Its solver never reads the environment: the process edge hands in
one mapping, read once, and `Values` finds a variable in it under the rules of lego (several names) and of
knit (`NAME__WEST` for the second account `code@west`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from knit.core.places import Allowed
from knit.core.words import switch
from knit.errors import Misconfigured
from knit.ports.process import Clock, Sleep
from knit.ports.solving import Paced, Solver, Timing
from knit.providers.http.tls import Trust

UNLIMITED = 600.0
"""What "no limit" means for one API call: a thread that waits for ever is of no use to anybody."""

LIBRARY = 8.0
"""The longest (seconds) that a vendor's library may wait for one answer: its calls do not end at a stop."""

PAUSE = "seconds between two challenges of a certificate, which are proved one after the other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One setting of a provider. `names` are tried in order, the first is the main one; the rest are old spellings."""

    names: tuple[str, ...]
    help: str
    default: str | None = None
    secret: bool = False

    @property
    def name(self) -> str:
        """The main name: what errors and docs call it."""
        return self.names[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a solver may use of its process: the clock, and a wait that ends when the process must stop.

    `resolvers` (host:port) are those the user wants asked; none: the system's. `trust` says whose TLS certificates
    count.
    """

    clock: Clock
    sleep: Sleep
    resolvers: tuple[str, ...] = ()
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The settings every provider has; `ttl`, `http` and `pause` are None where lego has no such variable."""

    timeout: Variable
    interval: Variable
    ttl: Variable | None
    http: Variable | None
    pause: Variable | None = None

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Those that exist."""
        return tuple(
            knob for knob in (self.timeout, self.interval, self.ttl, self.http, self.pause) if knob is not None
        )

    def timing(self, values: Values) -> Timing:
        """Read them. Without a TTL variable the record's TTL is lego's general default, 120 s."""
        return Timing(
            timeout=values.seconds(self.timeout),
            interval=values.seconds(self.interval, zero=1.0),
            ttl=120 if self.ttl is None else values.integer(self.ttl),
            http=30.0 if self.http is None else values.seconds(self.http, zero=UNLIMITED),
            pause=None if self.pause is None or values.get(self.pause) is None else values.integer(self.pause),
        )


def knobs(
    *prefixes: str, timeout: int, interval: int, ttl: int | None, http: int | None = None, pause: int | None = None
) -> Knobs:
    """The usual `<PREFIX>_PROPAGATION_TIMEOUT` and so on, with lego's defaults in seconds; old prefixes after the main.

    `http` is how long one API call may take to answer.
    """

    def variable(suffix: str, default: int, text: str) -> Variable:
        names = tuple(f"{prefix}_{suffix}" for prefix in prefixes)
        return Variable(names=names, help=text, default=str(default))

    return Knobs(
        timeout=variable("PROPAGATION_TIMEOUT", timeout, "seconds until an unseen record counts as failed"),
        interval=variable("POLLING_INTERVAL", interval, "seconds between two looks for the record"),
        ttl=None if ttl is None else variable("TTL", ttl, "TTL of the TXT record in seconds"),
        http=None if http is None else variable("HTTP_TIMEOUT", http, "seconds one API call may take"),
        pause=None if pause is None else variable("SEQUENCE_INTERVAL", pause, PAUSE),
    )


class Values:
    """A provider's settings as the user gave them: one mapping, read once, looked up by `Variable`.

    For an account (`code@west`) every name is tried with `__WEST` first, then as it is. That `NAME_FILE` may stand
    for NAME is the mapping's doing (knit.settings.Environment).
    """

    def __init__(self, mapping: Mapping[str, str], account: str = "") -> None:
        self._mapping = mapping
        self._suffixes = (f"__{account.upper().replace('-', '_')}", "") if account else ("",)

    def get(self, variable: Variable) -> str | None:
        """The value, else the default, else None."""
        found = self._first(variable, self._suffixes)
        return variable.default if found is None else found

    def text(self, variable: Variable) -> str:
        """The value or the default; raises Misconfigured, naming the variable, when there is neither."""
        value = self.get(variable)
        if value is None:
            raise Misconfigured(f"{self.spelled(variable)} is not set: {variable.help}")
        return value

    def integer(self, variable: Variable) -> int:
        """A whole number >= 0; Misconfigured names variable and value otherwise (lego would fall back silently)."""
        value = self.text(variable)
        if not (value.isascii() and value.isdigit()):
            raise Misconfigured(f"{self.spelled(variable)} must be a whole number, not {self._shown(variable, value)}")
        return int(value)

    def seconds(self, variable: Variable, *, zero: float | None = None) -> float:
        """Whole seconds; `zero` is what 0 stands for, where it stands for anything."""
        value = float(self.integer(variable)) or zero
        if value is None:
            raise Misconfigured(f"{self.spelled(variable)} must be at least 1 second, not 0")
        return value

    def flag(self, variable: Variable) -> bool:
        """A truth value, false when unset."""
        value = self.get(variable) or "false"
        try:
            return switch(value)
        except ValueError:
            shown = self._shown(variable, value)
            raise Misconfigured(f"{self.spelled(variable)} must be true or false, not {shown}") from None

    def choose(self, alternatives: Sequence[Sequence[Variable]]) -> int:
        """Which set of required variables the user filled in: the first complete one.

        An account's own set goes before a set that is complete only because of the shared names: otherwise the
        first account's token would win over the second account's key and e-mail.
        """
        for suffixes in (self._suffixes[:1], self._suffixes):
            for index, wanted in enumerate(alternatives):
                if all(self._first(variable, suffixes) is not None for variable in wanted):
                    return index
        raise Misconfigured(self._missing(alternatives))

    def set_names(self, variables: Iterable[Variable]) -> tuple[str, ...]:
        """Which environment names are set for these variables: names only, for `knit providers`."""
        spelled = (name + suffix for variable in variables for suffix in self._suffixes for name in variable.names)
        return tuple(name for name in spelled if name in self._mapping)

    def named(self, names: Iterable[str]) -> dict[str, str]:
        """What is set under these names; as in `for_program`, an account's values stand under the plain ones."""
        looked_up = {name: self._first(Variable(names=(name,), help=""), self._suffixes) for name in names}
        return {name: value for name, value in looked_up.items() if value is not None}

    def besides(self, more: Mapping[str, str]) -> Values:
        """The same, with values for what is not set."""
        filled = Values({**more, **self._mapping})
        filled._suffixes = self._suffixes
        return filled

    @property
    def is_second_account(self) -> bool:
        """Whether these are the settings of an account `code@name`."""
        return len(self._suffixes) > 1

    def for_program(self) -> dict[str, str]:
        """The environment for a child process: all of it but knit's own settings.

        An account's values stand under the plain names there, for the program knows no accounts.
        """
        given = {name: value for name, value in self._mapping.items() if not name.startswith("KNIT_")}
        own = self._suffixes[0]
        if own:
            given |= {name.removesuffix(own): value for name, value in given.items() if name.endswith(own)}
        return given

    def _first(self, variable: Variable, suffixes: Iterable[str]) -> str | None:
        spelled = (name + suffix for suffix in suffixes for name in variable.names)
        return next((value for value in map(self._mapping.get, spelled) if value), None)

    def _missing(self, alternatives: Sequence[Sequence[Variable]]) -> str:
        sets = [
            " and ".join(self.spelled(variable) for variable in wanted if self._first(variable, self._suffixes) is None)
            for wanted in alternatives
        ]
        return f"not set: {', or '.join(sets)}"

    def spelled(self, variable: Variable) -> str:
        """What the user would call it: for an account, with the account's ending."""
        return f"{variable.name}{self._suffixes[0]}"

    @staticmethod
    def _shown(variable: Variable, value: str) -> str:
        return "what it holds" if variable.secret else repr(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One DNS provider: everything the registry, the docs and `knit providers` need to know.

    `required` lists alternatives; each is a set of variables that must all be set (`((),)`: nothing is required).
    `variables` are all others. `rights` says in plain words what the credential must be allowed to do.
    """

    code: str
    title: str
    url: str
    required: tuple[tuple[Variable, ...], ...]
    knobs: Knobs
    build: Callable[[Values, Runtime], Solver]
    rights: str
    aliases: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    note: str = field(default="")
    elsewhere: Callable[[Values], Mapping[str, str]] | None = None
    """Gives, from a file of the vendor's, variables that are not set in the environment."""

    @property
    def settings(self) -> tuple[Variable, ...]:
        """Every variable it reads, each once, credentials first."""
        credentials = (variable for wanted in self.required for variable in wanted)
        return tuple(dict.fromkeys((*credentials, *self.variables, *self.knobs.variables, self.places)))

    @property
    def places(self) -> Variable:
        """The list of names where challenges may be written."""
        name = f"{self.code.upper().replace('-', '_')}_ALLOWED_NAMES"
        return Variable(names=(name,), help="names where challenges may be written; unset: wherever they lead")

    def solver(self, values: Values, runtime: Runtime) -> Solver:
        """Check that one set of required variables is there, then build. Raises Misconfigured."""
        try:
            values.choose(self.required)
        except Misconfigured:
            if self.elsewhere is None:
                raise
            values = values.besides(self.elsewhere(values))
            values.choose(self.required)
        made = self.build(values, runtime)
        if isinstance(made, Paced):
            made.allowed = Allowed.read(values.spelled(self.places), values.get(self.places))
        return made
