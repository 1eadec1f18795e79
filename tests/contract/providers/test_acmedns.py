"""acme-dns keeps the solver contract, but for removing: it cannot."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from knit.core.model.challenge import Record
from knit.errors import Misconfigured, NotVisible, Refused
from knit.ports.solving import HoldsOneValue, Solver, Timing
from knit.providers import acmedns
from knit.providers.acmedns_accounts import DnsAccount
from knit.providers.base import Runtime, Values
from rig.dns_api.acmedns import FakeAccountServer, FakeAcmeDns
from tests.contract.providers.suite import NOW, ONE, Case, SolverContract, record

_DOMAINS = ("www.example.org", "a.b.example.org", "example.net")


class Handed:
    """The accounts of the suite's names, handed out by the test instead of a file."""

    def __init__(self, password: str) -> None:
        fake = FakeAcmeDns()
        made = [cast("dict[str, str]", fake.account(f"_acme-challenge.{domain}")) for domain in _DOMAINS]
        self.kept = {
            domain: DnsAccount(
                fulldomain=each["fulldomain"],
                subdomain=each["subdomain"],
                username=each["username"],
                password=password,
            )
            for domain, each in zip(_DOMAINS, made, strict=True)
        }

    def get(self, domain: str) -> DnsAccount | None:
        return self.kept.get(domain)

    def add(self, domain: str, register: Callable[[], DnsAccount]) -> tuple[DnsAccount, bool]:
        self.kept[domain] = register()
        return self.kept[domain], False


class FakeWithAccounts(FakeAcmeDns):
    """The server that those accounts are of."""

    def __init__(self) -> None:
        super().__init__()
        for domain in _DOMAINS:
            self.account(f"_acme-challenge.{domain}")


class TestAcmeDns(SolverContract):
    case = Case(
        provider=acmedns.PROVIDER,
        fake=FakeWithAccounts,
        credentials={"ACME_DNS_API_BASE": "https://auth.example.net", "ACME_DNS_STORAGE_PATH": "/accounts.json"},
        secrets=(FakeAcmeDns.password,),
        single_value=True,
        removes=False,
    )

    def build(self, url: str, timing: Timing, runtime: Runtime) -> acmedns.AcmeDns:
        return acmedns.AcmeDns(acmedns.Server(url=url), Handed(FakeAcmeDns.password), timing, runtime)

    def build_rejected(self, url: str, timing: Timing, runtime: Runtime) -> acmedns.AcmeDns:
        return acmedns.AcmeDns(acmedns.Server(url=url), Handed("another"), timing, runtime)

    def test_a_value_that_was_set_is_there(self, api: FakeAcmeDns, solver: Solver) -> None:
        solver.present(ONE)
        assert api.values(ONE.fqdn) == [ONE.value]

    def test_only_one_challenge_at_a_time_has_an_account(self, solver: Solver) -> None:
        assert isinstance(solver, HoldsOneValue)
        assert solver.slot(ONE) == ONE.fqdn

    @pytest.mark.parametrize("missing", ["ACME_DNS_API_BASE", "ACME_DNS_STORAGE_PATH"])
    def test_the_server_and_a_place_for_accounts_are_both_needed(self, runtime: Runtime, missing: str) -> None:
        given = {name: value for name, value in self.case.credentials.items() if name != missing}
        with pytest.raises(Misconfigured, match=missing):
            acmedns.PROVIDER.solver(Values(given), runtime)


@pytest.fixture
def server() -> Iterator[FakeAcmeDns]:
    fake = FakeAcmeDns()
    with fake.serving():
        yield fake
    assert fake.complaints == []


@pytest.fixture
def keeper() -> Iterator[FakeAccountServer]:
    fake = FakeAccountServer()
    with fake.serving():
        yield fake
    assert fake.complaints == []


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(clock=lambda: NOW, sleep=lambda _: None)


def built(server: FakeAcmeDns, runtime: Runtime, **settings: str) -> Solver:
    return acmedns.PROVIDER.solver(Values({"ACME_DNS_API_BASE": server.url, **settings}), runtime)


def at(fqdn: str) -> Record:
    """ONE, with its CNAME followed to this name."""
    return Record(challenge=ONE.challenge, fqdn=fqdn, zone="auth.example.net")


def test_a_domain_without_account_gets_one_and_the_error_names_its_cname(
    server: FakeAcmeDns, runtime: Runtime, tmp_path: Path
) -> None:
    path = tmp_path / "accounts.json"
    path.write_text('{"other.example": {"fulldomain": "x", "unknown": 1}}')
    solver = built(server, runtime, ACME_DNS_STORAGE_PATH=str(path), ACME_DNS_ALLOWLIST="192.0.2.0/24, 198.51.100.7/32")
    with pytest.raises(Refused, match=r"_acme-challenge\.www\.example\.org\. CNAME .*\.auth\.example\.net\.") as caught:
        solver.present(ONE)
    assert FakeAcmeDns.password not in str(caught.value)
    (account,) = server.accounts.values()
    assert account["allowfrom"] == ["192.0.2.0/24", "198.51.100.7/32"]
    assert json.loads(path.read_text()) == {
        "other.example": {"fulldomain": "x", "unknown": 1},
        "www.example.org": {
            **{name: account[name] for name in ("fulldomain", "subdomain", "username", "password")},
            "server_url": server.url,
        },
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    followed = at(str(account["fulldomain"]))
    solver.present(followed)
    assert server.values(followed.fqdn) == [ONE.value]
    assert len(server.accounts) == 1


def test_a_file_that_lego_wrote_is_read(server: FakeAcmeDns, runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    for spelled in (str.lower, str.title):
        account = server.account()
        names = {"fulldomain", "subdomain", "username", "password"}
        path.write_text(json.dumps({"www.example.org": {spelled(name): account[name] for name in names}}))
        followed = at(str(account["fulldomain"]))
        built(server, runtime, ACME_DNS_STORAGE_PATH=str(path)).present(followed)
        assert server.values(followed.fqdn) == [ONE.value]


def test_eight_threads_register_a_domain_once(server: FakeAcmeDns, runtime: Runtime, tmp_path: Path) -> None:
    solver = built(server, runtime, ACME_DNS_STORAGE_PATH=str(tmp_path / "accounts.json"))

    def refused(_: int) -> str:
        with pytest.raises(Refused) as caught:
            solver.present(ONE)
        return str(caught.value)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(refused, range(8)))) == 1
    assert len(server.accounts) == 1


def test_a_cname_that_leads_elsewhere_is_named(server: FakeAcmeDns, runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"www.example.org": server.account()}))
    solver = built(server, runtime, ACME_DNS_STORAGE_PATH=str(path))
    with pytest.raises(Refused, match=r"it leads to wrong\.example\.net now"):
        solver.present(at("wrong.example.net"))
    with pytest.raises(Refused, match="there is none now"):
        solver.present(ONE)
    assert server.requests == []


def test_where_cnames_are_not_followed_the_account_is_used_all_the_same(
    server: FakeAcmeDns, runtime: Runtime, tmp_path: Path
) -> None:
    path = tmp_path / "accounts.json"
    account = server.account()
    path.write_text(json.dumps({"www.example.org": account}))
    settings = {"ACME_DNS_STORAGE_PATH": str(path), "LEGO_DISABLE_CNAME_SUPPORT": "true"}
    built(server, runtime, **settings).present(ONE)
    assert server.values(str(account["fulldomain"])) == [ONE.value]


@pytest.mark.parametrize("content", ["not json", "[]", '{"www.example.org": {"fulldomain": "canary"}}'])
def test_a_file_that_is_none_of_lego_s_is_named_and_kept(
    server: FakeAcmeDns, runtime: Runtime, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(content)
    with pytest.raises(Refused, match=r"accounts\.json") as caught:
        built(server, runtime, ACME_DNS_STORAGE_PATH=str(path)).present(ONE)
    assert "canary" not in str(caught.value)
    assert path.read_text() == content


def test_a_folder_that_is_not_there_registers_nothing(server: FakeAcmeDns, runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "accounts.json"
    with pytest.raises(Refused, match="cannot keep an account"):
        built(server, runtime, ACME_DNS_STORAGE_PATH=str(path)).present(ONE)
    assert server.accounts == {}


def test_an_account_server_keeps_accounts_as_well(
    server: FakeAcmeDns, keeper: FakeAccountServer, runtime: Runtime
) -> None:
    solver = built(server, runtime, ACME_DNS_STORAGE_BASE_URL=f"{keeper.url}/accounts")
    with pytest.raises(Refused, match="CNAME"):
        solver.present(ONE)
    followed = at(keeper.kept["www.example.org"]["fulldomain"])
    solver.present(followed)
    assert server.values(followed.fqdn) == [ONE.value]


def test_an_account_server_that_makes_the_cname_is_worth_another_try(
    server: FakeAcmeDns, keeper: FakeAccountServer, runtime: Runtime
) -> None:
    keeper.makes_cname = True
    solver = built(server, runtime, ACME_DNS_STORAGE_BASE_URL=f"{keeper.url}/accounts")
    with pytest.raises(NotVisible, match="has just been made"):
        solver.present(ONE)
    solver.present(at(keeper.kept["www.example.org"]["fulldomain"]))


def test_each_domain_has_an_account_of_its_own(server: FakeAcmeDns, runtime: Runtime, tmp_path: Path) -> None:
    solver = built(server, runtime, ACME_DNS_STORAGE_PATH=str(tmp_path / "accounts.json"))
    for domain in ("one.example", "two.example"):
        with pytest.raises(Refused, match=domain):
            solver.present(record(ONE.value, f"_acme-challenge.{domain}", zone=domain))
    assert len(server.accounts) == 2
