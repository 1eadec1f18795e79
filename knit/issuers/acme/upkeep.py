"""An account that is there: how it stands, its contact, its key, its end (RFC 8555 sections 7.3.2 to 7.3.6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from knit.core.model.account import Account
from knit.core.text import clean
from knit.errors import Busy, Refused, Unreachable
from knit.issuers.acme.jws import Signer
from knit.issuers.acme.network import Network
from knit.issuers.acme.problems import NO_ACCOUNT, Problem, ProblemReply, error_of
from knit.issuers.acme.transport import Reply
from knit.issuers.acme.wire import Directory
from knit.ports.issuing import AccountBook, Accounts

VALID: Final = "valid"
GONE: Final = frozenset({"unauthorized", NO_ACCOUNT})
"""What a CA answers to all that an account asks for which is deactivated, revoked or lost (section 7.3.6)."""

UNKNOWN_KEY: Final = frozenset({NO_ACCOUNT, "externalAccountRequired"})
"""Some CAs look for a binding first, which only a new account needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    """How the CA has an account: its status and contact, in its own words; else its `problem` with us."""

    status: str | None = None
    contact: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def email(self) -> str:
        """The first address that it may write to; "" when there is none."""
        return next((one.removeprefix("mailto:") for one in self.contact if one.startswith("mailto:")), "")

    @property
    def is_ended(self) -> bool:
        """Whether the account is no more, by all that the CA says of it."""
        return self.status not in (None, VALID) if self.problem is None else self.problem.code in GONE

    @property
    def objection(self) -> str | None:
        """Why the account can order nothing; None when it can, as far as is known."""
        if self.problem is not None:
            return str(error_of(self.problem))
        return None if self.status in (None, VALID) else f"the CA calls it {self.status}"


def standing(network: Network, directory: Directory, account: Account) -> AccountStatus:
    """Ask the CA about an account that has a URL. Raises Unreachable, Interrupted."""
    _sign(network, directory, account, account.private_key)
    try:
        return _told(network.post(_url(account)))
    except ProblemReply as refused:
        return AccountStatus(problem=refused.problem)


def by_key(network: Network, directory: Directory, key: str) -> tuple[str, AccountStatus] | None:
    """URL and standing of the account that has this key (PEM), without registering any (section 7.3.1); None: no one.

    Raises ProblemReply, Unreachable, Interrupted.
    """
    network.sign_as(Signer(key), None, directory.new_nonce)
    try:
        reply = network.post(directory.registers_at(), json.dumps({"onlyReturnExisting": True}).encode())
    except ProblemReply as refused:
        if refused.problem.code in UNKNOWN_KEY:
            return None
        raise
    return directory.hosts.own(reply.headers.get("location"), "the account's URL"), _told(reply)


def _told(reply: Reply) -> AccountStatus:
    """An account as the CA describes it; of what makes no sense, nothing."""
    try:
        found = reply.json()
    except ValueError:
        return AccountStatus()
    fields = found if isinstance(found, dict) else {}
    status, contact = fields.get("status"), fields.get("contact")
    return AccountStatus(
        status=clean(status, 60) if isinstance(status, str) else None,
        contact=tuple(clean(one, 200) for one in contact if isinstance(one, str)) if isinstance(contact, list) else (),
    )


def set_contact(network: Network, directory: Directory, account: Account, email: str) -> None:
    """Have the CA write there from now on; twice is once. Raises ProblemReply, Unreachable."""
    _sign(network, directory, account, account.private_key)
    network.post(_url(account), json.dumps({"contact": [f"mailto:{email}"]}).encode())


def deactivate(network: Network, directory: Directory, account: Account) -> None:
    """End it, for ever; one that is ended already is no error. Raises ProblemReply, Refused, Unreachable.

    Of an ended one a CA refuses every request (section 7.3.6), but for `unauthorized` it may have other reasons: only
    one that it does not show any more, or shows as ended, is believed to be.
    """
    _sign(network, directory, account, account.private_key)
    try:
        network.post(_url(account), json.dumps({"status": "deactivated"}).encode())
    except ProblemReply as refused:
        if refused.problem.code not in GONE:
            raise
        stands = standing(network, directory, account)
        if stands.status == VALID:
            raise Refused(f"the CA goes on calling the account valid, and says: {refused}") from None
        if not stands.is_ended:
            raise


def settled(network: Network, directory: Directory, account: Account, accounts: Accounts) -> Account:
    """The account with the key that the CA knows, where a change of it was begun and perhaps not finished.

    A key that the CA does not know stays beside the other: the request to change it may still be under way.
    Raises ProblemReply, Unreachable, Interrupted.
    """
    while account.next_key is not None and account.uri is not None:
        if not _knows(network, directory, account, account.next_key):
            return account
        if accounts.change_key(account):
            return replace(account, private_key=account.next_key, next_key=None)
        account = _again(account, accounts)
    return account


def rotate(
    network: Network, directory: Directory, account: Account, accounts: AccountBook, new_key: Callable[[], str]
) -> Account:
    """Give the account another key, or finish that where it was begun: the next key is kept before the CA hears of it.

    The old key is given up once the CA has taken a request by the new one, whatever it answered to the change.
    Raises Refused where the CA changes no keys, Busy when somebody changes the account meanwhile, ProblemReply,
    Unreachable, Interrupted; whatever it is, the account is not lost, and the next call or use goes on.
    """
    if directory.key_change is None:
        raise Refused(f"the CA at {directory.hosts} changes no keys of accounts (its directory names no keyChange)")
    begun = account.next_key is not None
    account = settled(network, directory, account, accounts)
    if begun and account.next_key is None:
        return account
    key = accounts.prepare_key(account, new_key())
    if key is None:
        raise _changed(account)
    account = replace(account, next_key=key)
    failure: Exception = Unreachable("the CA says that it has changed the key, and does not know the account by it yet")
    try:
        _sign(network, directory, account, account.private_key)
        network.post_once(directory.key_change, _change(directory.key_change, account, Signer(key)))
    except (ProblemReply, Unreachable) as error:
        failure = error
    # Whatever was answered, it may have been done or not. The old key goes once the CA has taken the new one.
    after = settled(network, directory, account, accounts)
    if after.next_key is not None:
        raise failure
    return after


def _change(url: str, account: Account, new: Signer) -> bytes:
    """The inner request (section 7.3.5): signed by the new key, which names the old one."""
    old = Signer(account.private_key).public.to_json()
    return new.sign(url, None, json.dumps({"account": account.uri, "oldKey": old}).encode(), None)


def _knows(network: Network, directory: Directory, account: Account, key: str) -> bool:
    _sign(network, directory, account, key)
    try:
        network.post(_url(account))
    except ProblemReply as refused:
        if refused.problem.is_limit or refused.problem.status >= 500:
            raise
        return False
    return True


def _sign(network: Network, directory: Directory, account: Account, key: str) -> None:
    network.sign_as(Signer(key), account.uri, directory.new_nonce)


def _url(account: Account) -> str:
    if account.uri is None:
        raise Refused(f"no account is registered at {account.directory}")
    return account.uri


def _again(account: Account, accounts: Accounts) -> Account:
    found = accounts.get(account.directory, account.issuer)
    if found is None or found.uri != account.uri:
        raise _changed(account)
    return found


def _changed(account: Account) -> Busy:
    return Busy(f"the account of issuer {account.issuer} was changed meanwhile: run it again")
