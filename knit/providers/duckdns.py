"""Duck DNS (https://www.duckdns.org/spec.jsp).

A Duck DNS name has one TXT value, which shows at the name and at everything below it. It cannot be read back through
the API, so setting replaces what was there and removing clears it whatever it is.
"""

from __future__ import annotations

from knit.core.model.challenge import Record
from knit.errors import KnitError, Refused, Unreachable
from knit.ports.solving import HoldsOneValue, Paced, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import Api
from knit.providers.zones import relative

_TOKEN = Variable(names=("DUCKDNS_TOKEN",), help="token of the Duck DNS account", secret=True)
_KNOBS = knobs("DUCKDNS", timeout=60, interval=2, ttl=None, http=30, pause=60)
_RIGHTS = "the token of the account that holds this Duck DNS name"


class DuckDns(Paced, HoldsOneValue):
    """One account. `apex` is the zone in which the names are."""

    def __init__(
        self,
        token: str,
        timing: Timing,
        runtime: Runtime,
        *,
        url: str = "https://www.duckdns.org",
        apex: str = "duckdns.org",
    ) -> None:
        super().__init__(timing)
        account = Account(provider="duckdns", rights=_RIGHTS, sign=anonymous, secrets=(token,))
        self._api = Api(url, account, runtime, timeout=timing.http)
        self._token = token
        self._apex = apex

    def slot(self, record: Record) -> str:
        """All names below one Duck DNS name share its only TXT value."""
        return f"{self._name(record)}.{self._apex}"

    def present(self, record: Record) -> None:
        """Make this the name's TXT value."""
        self._update(record, {})

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Clear the name's TXT value."""
        self._update(record, {"clear": "true"})

    def _name(self, record: Record) -> str:
        if not record.fqdn.endswith(f".{self._apex}"):
            raise Refused(f"duckdns: {record.fqdn} is not below {self._apex}")
        return relative(record.fqdn, self._apex).rpartition(".")[2]

    def _update(self, record: Record, more: dict[str, str]) -> None:
        params = {"domains": self._name(record), "token": self._token, "txt": record.value, **more}
        said = self._api.get("/update", params).text.strip()
        if said != "OK":
            raise self._failed(said, record)

    def _failed(self, said: str, record: Record) -> KnitError:
        """A wrong token and a name of somebody else are both answered with KO and nothing more."""
        if said == "KO":
            return self._api.rejected(f"KO for {self._name(record)}")
        return Unreachable(f"duckdns: the API's answer for {self._name(record)} is neither OK nor KO")


def _build(values: Values, runtime: Runtime) -> Solver:
    return DuckDns(values.text(_TOKEN), _KNOBS.timing(values), runtime)


PROVIDER = Provider(
    code="duckdns",
    title="Duck DNS",
    url="https://www.duckdns.org/spec.jsp",
    required=((_TOKEN,),),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="One TXT value for each Duck DNS name: a name and its wildcard are proved one after the other. A "
    "TXT value of your own is replaced.",
)
