"""Hurricane Electric's dynamic TXT records (https://dns.he.net/docs.html).

A dynamic TXT record is made once in the console, with a key of its own, and holds one value. It cannot be read back
or removed through this interface, so setting replaces what was there and removing leaves a dot.
"""

from __future__ import annotations

from collections.abc import Mapping

from knit.core.model.challenge import Record
from knit.errors import KnitError, Misconfigured, Refused, Unreachable
from knit.ports.solving import HoldsOneValue, Paced, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import Api
from knit.providers.http.exchange import Body

_URL = "https://dyn.dns.he.net/nic/update"
_TOKENS = Variable(
    names=("HURRICANE_TOKENS",),
    help="names and the keys of their TXT records: example.org:key1,www.example.org:key2",
    secret=True,
)
_KNOBS = knobs("HURRICANE", timeout=300, interval=2, ttl=None, http=30, pause=60)
_RIGHTS = "the key of a dynamic TXT record made at this name in the console of dns.he.net"
_PREFIX = "_acme-challenge."
_EMPTY = "."
_TOO_OFTEN = {"interval", "abuse"}


class Hurricane(Paced, HoldsOneValue):
    """`tokens` by the record's full name, or by `_acme-challenge.` before the target of a CNAME."""

    def __init__(self, tokens: Mapping[str, str], timing: Timing, runtime: Runtime, *, url: str = _URL) -> None:
        super().__init__(timing)
        account = Account(provider="hurricane", rights=_RIGHTS, sign=anonymous, secrets=tuple(tokens.values()))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._tokens = dict(tokens)

    def slot(self, record: Record) -> str:
        """A dynamic record holds one value."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Make this the record's value."""
        self._update(record, record.value)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Leave a dot in its place, whatever it is."""
        self._update(record, _EMPTY)

    def _update(self, record: Record, value: str) -> None:
        token = self._tokens.get(record.fqdn) or self._tokens.get(_PREFIX + record.fqdn)
        if token is None:
            raise Refused(f"hurricane: {_TOKENS.name} has no key for {record.fqdn}")
        form = {"hostname": record.fqdn, "password": token, "txt": value}
        said = self._api.call("POST", "", Body(form=form, again=True)).text.strip()
        if said.partition(" ")[0] not in {"good", "nochg"}:
            raise self._error(said, record)

    def _error(self, said: str, record: Record) -> KnitError:
        word = said.partition(" ")[0]
        if word in _TOO_OFTEN:
            return self._api.limited(f"{said} for {record.fqdn}")
        if word == "badauth":
            return self._api.rejected(f"{said} for {record.fqdn}")
        if word in {"nohost", "notfqdn", "badagent"}:
            return self._api.refused(f"{said} for {record.fqdn}; it needs {_RIGHTS}")
        return Unreachable(f"hurricane: the answer for {record.fqdn} is none of those documented")


def _tokens(text: str) -> dict[str, str]:
    """`name:key,name:key`; lego's names are without the `_acme-challenge.` in front."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, token = (part.strip() for part in pair.partition(":"))
        if not name or not token:
            raise Misconfigured(f"{_TOKENS.name} must be pairs like example.org:key, separated by commas")
        found[_PREFIX + name.rstrip(".").lower().removeprefix(_PREFIX).removeprefix("*.")] = token
    return found


def _build(values: Values, runtime: Runtime) -> Solver:
    return Hurricane(_tokens(values.text(_TOKENS)), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="hurricane",
    title="Hurricane Electric DNS",
    url="https://dns.he.net/docs.html",
    required=((_TOKENS,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="One value for each dynamic TXT record: a name and its wildcard are proved one after the other. For a "
    "challenge that is delegated by CNAME, the name in HURRICANE_TOKENS is the CNAME's target.",
)
