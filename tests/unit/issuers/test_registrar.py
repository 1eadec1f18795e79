"""Which account is used: one that another worker registers, the original knit's, or a new one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from knit.core.model.account import Account
from knit.errors import Busy, CredentialsRejected
from knit.issuers.acme.accounts import OTHERS_REGISTER_SECONDS, AccountOwner, Registrar
from knit.issuers.acme.hosts import Hosts
from knit.issuers.acme.jws import Signer, new_account_key
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.wire import Directory

URL = "https://ca.example/directory"
KEY = new_account_key()
REGISTERED = Account(directory=URL, issuer="acme", email="", private_key=KEY, uri="https://ca.example/acct/1")


@dataclass
class World:
    """Accounts, a lease that another worker holds, and a clock that moves when somebody sleeps."""

    registered_after: float = 1e9
    old: Account | None = None
    passed: float = 0.0
    saved: list[Account] = field(default_factory=list)

    def get(self, directory: str, issuer: str) -> Account | None:
        assert (directory, issuer) == (URL, "acme")
        # The key is kept before the CA is asked.
        return REGISTERED if self.passed >= self.registered_after else replace(REGISTERED, uri=None)

    def save(self, account: Account) -> None:
        self.saved.append(account)

    def change_key(self, account: Account) -> bool:
        raise AssertionError(account)

    def contact(self, account: Account, email: str) -> None:
        raise AssertionError(email)

    def original(self) -> Account | None:
        return self.old

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        assert name == f"account:acme:{URL}"
        yield None

    def sleep(self, seconds: float) -> None:
        self.passed += seconds

    def monotonic(self) -> float:
        return self.passed


def registrar(world: World, holder: AccountOwner | None = None) -> Registrar:
    return Registrar(
        directory_url=URL,
        issuer="acme",
        holder=holder or AccountOwner(),
        binding="the binding",
        accounts=world,
        leases=world,
        sleep=world.sleep,
        monotonic=world.monotonic,
    )


NOTHING: Any = None


def test_an_account_that_another_worker_registers_is_waited_for() -> None:
    world = World(registered_after=1.0)
    assert registrar(world).account(NOTHING, NOTHING) == REGISTERED
    assert world.passed < 2
    assert world.saved == []


def test_a_worker_that_registers_for_ever_is_not() -> None:
    world = World()
    with pytest.raises(Busy, match="another worker is registering"):
        registrar(world).account(NOTHING, NOTHING)
    assert OTHERS_REGISTER_SECONDS <= world.passed < OTHERS_REGISTER_SECONDS + 1
    assert world.saved == []


@pytest.mark.parametrize(
    ("registration", "uri", "adopted"),
    [
        ("", None, True),
        ("null", None, True),
        (" {} \n", None, True),
        ('{"body": {}, "uri": "https://ca.example/acct/7"}', "https://ca.example/acct/7", True),
        ('{"body": {}, "uri": "https://other.example/acct/7"}', None, False),
        ('{"body": {}}', None, False),
        ("junk", None, False),
    ],
)
def test_the_original_s_key_is_taken_unless_it_was_registered_elsewhere(
    registration: str, uri: str | None, *, adopted: bool
) -> None:
    world = World(old=replace(REGISTERED, directory="", uri=None, registration=registration))
    found = registrar(world)._adopted()
    assert (found is not None) is adopted
    if found is not None:
        assert (found.private_key, found.uri, found.directory, found.issuer) == (KEY, uri, URL, "acme")


def directory(*, binding: bool) -> Directory:
    url = "https://ca.example/x"
    hosts = Hosts(Origin.of(URL))
    return Directory(
        hosts=hosts,
        new_nonce=url,
        new_account=url,
        new_order=url,
        renewal_info=None,
        revoke_cert=None,
        key_change=None,
        profiles={},
        terms_of_service=None,
        account_binding=binding,
        caa_identities=frozenset(),
    )


def test_the_key_of_a_binding_may_be_written_in_either_alphabet() -> None:
    signer, messages = Signer(KEY), []
    for hmac in ("-_-_" * 8, "+/+/" * 8):
        asked = registrar(World(), AccountOwner(eab_kid="kid", eab_hmac=hmac))
        messages.append(asked._message(signer, directory(binding=True), "https://ca.example/x").json_dumps())
    assert messages[0] == messages[1]
    assert "externalAccountBinding" in messages[0]


def test_a_binding_that_is_missing_is_named_before_the_ca_is_asked() -> None:
    with pytest.raises(CredentialsRejected, match="set the binding to what it gave you"):
        registrar(World())._message(Signer(KEY), directory(binding=True), "https://ca.example/x")
    registrar(World())._message(Signer(KEY), directory(binding=False), "https://ca.example/x")
