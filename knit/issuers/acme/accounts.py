"""The account at one directory: found, taken over from the original knit, or registered. One per directory and issuer.

The only user of the `acme` library: it knows well what a registration says. What the CA answers is read here.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pydantic
from acme import messages

from knit.core.events import Kind
from knit.core.model.account import Account
from knit.errors import AccountUnusable, Busy, Unreachable
from knit.issuers.acme.jws import Signer, new_account_key
from knit.issuers.acme.network import Network
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.problems import ProblemReply, another_account
from knit.issuers.acme.upkeep import by_key, set_contact, settled
from knit.issuers.acme.wire import Directory
from knit.ports.issuing import Accounts
from knit.ports.leases import Leases
from knit.ports.process import Sleep

log = logging.getLogger(__name__)

OTHERS_REGISTER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOwner:
    """Who the account is for. The binding (RFC 8555 section 7.3.4) is what the CA gave out beside knit.

    `own_key` reads the key (PEM) of an account that is there already, and raises Misconfigured.
    """

    email: str | None = None
    eab_kid: str | None = None
    eab_hmac: str | None = field(default=None, repr=False)
    own_key: Callable[[], str] | None = field(default=None, repr=False)


class Registration(pydantic.BaseModel):
    """lego's stored registration: what the CA answered, and the account's URL. Nothing of the body is acted on."""

    uri: str
    body: dict[str, Any] = pydantic.Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrar:
    """Makes sure that there is an account, once for all workers. `binding` is what people set to bind it."""

    directory_url: str
    issuer: str
    holder: AccountOwner
    binding: str
    accounts: Accounts
    leases: Leases
    sleep: Sleep
    monotonic: Callable[[], float] = time.monotonic

    def account(self, network: Network, directory: Directory) -> Account:
        """The registered account. Raises CredentialsRejected, ProblemReply, Unreachable, Interrupted, and Busy."""
        end = self.monotonic() + OTHERS_REGISTER_SECONDS
        while self.monotonic() < end:
            found = self.current()
            if found is not None and found.uri is not None:
                return self._usable(found, network, directory)
            with self.leases.hold(f"account:{self.issuer}:{self.directory_url}") as lease:
                if lease is not None:
                    return self._made(network, directory)
            self.sleep(LOOK_SECONDS)
        message = "another worker is registering the ACME account and has not finished"
        raise Busy(message)

    def current(self) -> Account | None:
        """As PostgreSQL has it. Raises Misconfigured where its key cannot be opened here."""
        return self.accounts.get(self.directory_url, self.issuer)

    def _usable(self, found: Account, network: Network, directory: Directory) -> Account:
        """With the key that the CA knows. Raises AccountUnusable for an account that was deactivated by command."""
        if found.deactivated_at is not None:
            since = f"the account {found.uri} was deactivated on {found.deactivated_at:%Y-%m-%d}"
            raise AccountUnusable(f"{since}: {another_account(self.issuer)}")
        return self._told_contact(settled(network, directory, found, self.accounts), network, directory)

    def _told_contact(self, account: Account, network: Network, directory: Directory) -> Account:
        """Once, and again in an hour where the CA does not take it: nothing fails for want of a contact."""
        email = self.holder.email
        if email is None or email == account.email:
            return account
        try:
            set_contact(network, directory, account, email)
        except (ProblemReply, Unreachable) as error:
            log.warning("contact not changed, will retry", extra={"account": account.uri, "error": str(error)})
            return account
        self.accounts.contact(account, email)
        log.info(Kind.ACCOUNT_CONTACT_CHANGED.value, extra={"account": account.uri, "email": email})
        return replace(account, email=email)

    def _made(self, network: Network, directory: Directory) -> Account:
        kept = self.current()
        if kept is not None and kept.uri is not None:
            return self._usable(kept, network, directory)
        known = kept or self._given(network, directory) or self._adopted() or self._new()
        if known.uri is None:
            self.accounts.save(known)
            found = self._moved(known, network, directory) or self._bound(kept, network, directory)
            known = found or self._registered(known, network, directory)
        self.accounts.save(known)
        return self._told_contact(known, network, directory)

    def _moved(self, known: Account, network: Network, directory: Directory) -> Account | None:
        """The account that has the next key: it was forgotten while its key was being changed."""
        if known.next_key is None:
            return None
        there = by_key(network, directory, known.next_key)
        if there is None or not self.accounts.change_key(known):
            return None
        return replace(known, private_key=known.next_key, next_key=None, uri=there[0])

    def _bound(self, kept: Account | None, network: Network, directory: Directory) -> Account | None:
        """One that has our key, where that is not new: its URL was lost with a process, or by command.

        CAs may take a binding once, and refuse another request with it, also by the same key.
        Raises AccountUnusable where the CA has an objection to the account.
        """
        if kept is None or self.holder.eab_kid is None:
            return None
        there = by_key(network, directory, kept.private_key)
        if there is None:
            return None
        uri, stands = there
        if stands.objection is not None:
            raise AccountUnusable(f"the account {uri}: {stands.objection}: {another_account(self.issuer)}")
        log.info("ACME account found by its key", extra={"account": uri})
        return replace(kept, uri=uri, registration=_registration(uri))

    def _given(self, network: Network, directory: Directory) -> Account | None:
        """The account that is to be taken over. Raises AccountUnusable when the CA knows none with this key."""
        if self.holder.own_key is None:
            return None
        key = self.holder.own_key()
        there = by_key(network, directory, key)
        if there is None or there[1].objection is not None:
            why = "the CA knows no account with this key" if there is None else f"{there[0]}: {there[1].objection}"
            raise AccountUnusable(
                f"account_key_file of issuer {self.issuer}: {why}; whoever runs knit has to name the key of an account "
                f"at {self.directory_url}, or none, to have one registered"
            )
        uri, stands = there
        log.info("ACME account taken over", extra={"account": uri})
        return replace(self._of(key), uri=uri, email=stands.email)

    def _new(self) -> Account:
        return self._of(new_account_key())

    def _of(self, key: str) -> Account:
        email = self.holder.email or ""
        return Account(directory=self.directory_url, issuer=self.issuer, email=email, private_key=key)

    def _adopted(self) -> Account | None:
        """The original's account, if it was registered at this CA; its key, if it was registered nowhere yet."""
        original = self.accounts.original()
        if original is None:
            return None
        ours = replace(original, directory=self.directory_url, issuer=self.issuer, uri=None)
        if original.registration.strip() in ("", "null", "{}"):
            return ours
        uri = _registered_at(original.registration)
        if uri is None or not Origin.of(self.directory_url).holds(uri):
            log.info("original ACME account belongs to another directory", extra={"directory": self.directory_url})
            return None
        log.info("original ACME account taken over", extra={"account": uri})
        return replace(ours, uri=uri)

    def _registered(self, known: Account, network: Network, directory: Directory) -> Account:
        signer, url = Signer(known.private_key), directory.registers_at()
        network.sign_as(signer, None, directory.new_nonce)
        reply = network.post(url, self._message(signer, directory, url).json_dumps().encode())
        uri = directory.hosts.own(reply.headers.get("location"), "the account's URL")
        log.info(Kind.ACCOUNT_REGISTERED.value, extra={"account": uri, "directory": self.directory_url})
        return replace(known, uri=uri, registration=_registration(uri))

    def _message(self, signer: Signer, directory: Directory, url: str) -> messages.NewRegistration:
        wanted: dict[str, Any] = {"terms_of_service_agreed": True}
        if self.holder.email is not None:
            wanted["email"] = self.holder.email
        if self.holder.eab_kid is not None and self.holder.eab_hmac is not None:
            wanted["external_account_binding"] = messages.ExternalAccountBinding.from_data(
                signer.public,
                self.holder.eab_kid,
                self.holder.eab_hmac.replace("+", "-").replace("/", "_"),
                messages.Directory({"newAccount": url}),
            )
        elif directory.account_binding:
            message = (
                f"the CA at {Origin.of(self.directory_url)} only registers accounts bound to one it knows: "
                f"set {self.binding} to what it gave you"
            )
            raise AccountUnusable(message)
        return messages.NewRegistration.from_data(**wanted)


def _registration(uri: str) -> str:
    """In lego's form, with nothing in it that is the CA's own text: that there is an account is all that matters."""
    return json.dumps({"body": {"status": "valid"}, "uri": uri})


def _registered_at(registration: str) -> str | None:
    try:
        return Registration.model_validate_json(registration).uri
    except pydantic.ValidationError:
        return None
