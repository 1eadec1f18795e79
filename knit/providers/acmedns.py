"""acme-dns (https://github.com/joohoi/acme-dns).

Each domain has an account at the server, and a CNAME record at its `_acme-challenge` name that leads to the account's
own name. An account holds two values; a third takes the place of the older one, and none can be removed.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from knit.core.model.challenge import Record
from knit.errors import NotVisible, Refused, Unreachable
from knit.ports.solving import HoldsOneValue, Paced, Solver, Timing
from knit.providers.acmedns_accounts import Accounts, DnsAccount, FileAccounts, HttpAccounts
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.http.accounts import Account, anonymous
from knit.providers.http.api import Api
from knit.providers.http.exchange import Body

_BASE = Variable(names=("ACME_DNS_API_BASE",), help="address of the acme-dns server")
_PATH = Variable(names=("ACME_DNS_STORAGE_PATH",), help="JSON file of the accounts; new ones are added to it")
_STORAGE = Variable(names=("ACME_DNS_STORAGE_BASE_URL",), help="address of a server that keeps the accounts")
_ALLOWED = Variable(
    names=("ACME_DNS_ALLOWLIST",), help="networks (CIDR, comma-separated) a new account may be used from"
)
_NO_CNAME = Variable(names=("LEGO_DISABLE_CNAME_SUPPORT",), help="CNAME records are not followed")
_KNOBS = knobs("ACME_DNS", timeout=60, interval=2, ttl=None)
_RIGHTS = "the account that acme-dns gave out for this domain, used from a network it was made for"


class _Registered(BaseModel):
    fulldomain: str
    subdomain: str
    username: str
    password: str


class _Updated(BaseModel):
    txt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where acme-dns is. New accounts may be used from the networks `allowed` (none: any).

    `follows` says whether the records we get come with their CNAME followed.
    """

    url: str
    allowed: tuple[str, ...] = ()
    follows: bool = True


class AcmeDns(Paced, HoldsOneValue):
    """One acme-dns server and the accounts there, each of which can write at one name only."""

    bound = True

    def __init__(self, server: Server, accounts: Accounts, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing)
        self._server = server
        self._accounts = accounts
        self._runtime = runtime
        self._http = timing.http

    def slot(self, record: Record) -> str:
        """One value at a time: with two certificates at work on one account, a third value would push one out."""
        return record.fqdn

    def present(self, record: Record) -> None:
        """Set the value; registers an account, and says which CNAME it needs, when the domain has none."""
        account = self._account(record)
        body = {"subdomain": account.subdomain, "txt": record.value}
        credentials = {"X-Api-User": account.username, "X-Api-Key": account.password}
        reply = self._api(account).call("POST", "/update", Body(json=body, headers=credentials))
        if reply.parse(_Updated).txt != record.value:
            raise Unreachable(f"acmedns: the server has set another value than asked for {record.fqdn}")

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Nothing: acme-dns cannot remove a value. It stays until two later ones have pushed it out."""

    def _account(self, record: Record) -> DnsAccount:
        domain = record.challenge.identifier
        account = self._accounts.get(domain)
        if account is None:
            account, has_cname = self._accounts.add(domain, self._register)
            if has_cname:
                raise NotVisible(f"acmedns: {_cname(record, account)} has just been made: it is not followed yet")
        if self._server.follows and account.fulldomain != record.fqdn:
            now = "there is none" if record.fqdn == record.challenge.name else f"it leads to {record.fqdn}"
            raise Refused(f"acmedns: the DNS must have the record {_cname(record, account)} ({now} now)")
        return account

    def _register(self) -> DnsAccount:
        body = Body(json={"allowfrom": list(self._server.allowed)}) if self._server.allowed else None
        made = self._api(None).call("POST", "/register", body).parse(_Registered)
        return DnsAccount(
            fulldomain=made.fulldomain.rstrip(".").lower(),
            subdomain=made.subdomain,
            username=made.username,
            password=made.password,
            server_url=self._server.url,
        )

    def _api(self, who: DnsAccount | None) -> Api:
        secrets = () if who is None else (who.username, who.password)
        account = Account(provider="acmedns", rights=_RIGHTS, sign=anonymous, secrets=secrets)
        return Api(self._server.url, account, self._runtime, timeout=self._http)


def _cname(record: Record, account: DnsAccount) -> str:
    return f"{record.challenge.name}. CNAME {account.fulldomain}."


def _build(values: Values, runtime: Runtime) -> Solver:
    timing = _KNOBS.timing(values)
    by_path = values.choose(PROVIDER.required) == 0
    accounts: Accounts = (
        FileAccounts(values.text(_PATH)) if by_path else HttpAccounts(values.text(_STORAGE), timing, runtime)
    )
    allowed = tuple(network.strip() for network in (values.get(_ALLOWED) or "").split(",") if network.strip())
    server = Server(url=values.text(_BASE), allowed=allowed, follows=not values.flag(_NO_CNAME))
    return AcmeDns(server, accounts, timing, runtime)


PROVIDER = Provider(
    code="acmedns",
    aliases=("acme-dns",),
    title="acme-dns",
    url="https://github.com/joohoi/acme-dns",
    required=((_BASE, _PATH), (_BASE, _STORAGE)),
    variables=(_ALLOWED,),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note="Values cannot be removed. A domain without an account gets one, and the error says which CNAME record it "
    "needs. Workers on several hosts need one file that all can write, or an account server.",
)
