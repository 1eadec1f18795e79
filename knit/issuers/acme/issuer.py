"""The ACME issuer as flows see it: one CA, one account, any number of threads."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from knit.core.ari import Answer
from knit.core.model.account import Account
from knit.core.model.attempt import IssueRequest
from knit.core.model.certificate import Bundle
from knit.core.proxy import Proxies
from knit.errors import (
    AccountUnusable,
    Busy,
    CredentialsRejected,
    IssuerUnusable,
    KnitError,
    Misconfigured,
    OrderKept,
    Refused,
)
from knit.issuers.acme import ari, revoking
from knit.issuers.acme.accounts import AccountOwner, Registrar
from knit.issuers.acme.hosts import Garbled, Hosts
from knit.issuers.acme.jws import Signer
from knit.issuers.acme.network import Network
from knit.issuers.acme.orders import Issuance
from knit.issuers.acme.origin import Origin, roots, trust
from knit.issuers.acme.polling import Poller
from knit.issuers.acme.problems import KEPT, Problem, ProblemReply, another_account, error_of, kept
from knit.issuers.acme.session import Session
from knit.issuers.acme.transport import Connection
from knit.issuers.acme.upkeep import settled, standing
from knit.issuers.acme.wire import Directory
from knit.ports.issuing import Accounts, Keep
from knit.ports.journal import Journal
from knit.ports.leases import Leases
from knit.ports.process import Clock, Sleep
from knit.ports.solving import Prover

log = logging.getLogger(__name__)

DIRECTORY_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One CA: the issuer's name, its directory, its roots (none: the system's), other hosts that are its own.

    `holder` says who the account is for. `deactivates`: proofs of control of names are given up once the certificate
    is there. `plain`: people describe it by variables, and not by a file.
    """

    name: str
    directory: str
    ca_files: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    holder: AccountOwner = field(default_factory=AccountOwner)
    deactivates: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    plain: bool = True

    def called(self, key: str) -> str:
        """What people call one of its settings."""
        return f"KNIT_ACME_{key.upper()}" if self.plain else f"{key} of issuer {self.name}"

    @property
    def doubt(self) -> str:
        """What to look at when there is no CA at its directory."""
        return "is KNIT_ACME_DIRECTORY right?" if self.plain else f"is directory of issuer {self.name} right?"

    def all_hosts(self) -> Hosts:
        """Where requests may go. Raises Misconfigured."""
        try:
            home = Origin.of(self.directory)
        except ValueError:
            message = f"{self.called('directory')}: {self.directory!r}: an https URL is needed"
            raise Misconfigured(message) from None
        try:
            return Hosts(home, frozenset(Origin.of(f"https://{host}") for host in self.hosts))
        except ValueError:
            message = f"{self.called('hosts')}: {','.join(self.hosts)!r}: hosts are needed, each with or without a port"
            raise Misconfigured(message) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What the first thread learns for all: where to send what, and as whom."""

    directory: Directory
    signer: Signer
    account: Account
    read_at: float


class AcmeIssuer:
    """Issues over ACME with DNS-01. Safe to use from a hundred threads: no two share a connection or nonces.

    Connections are kept for the next certificate; `close` ends them.
    """

    proves = True
    by_serial = False

    def __init__(self, site: Site, accounts: Accounts, leases: Leases, clock: Clock, sleep: Sleep) -> None:
        """Raises Misconfigured for a directory that is not https, or roots that cannot be read."""
        self.name, self.directory = site.name, site.directory
        self._site = site
        self._hosts = site.all_hosts()
        self._context = trust(site.ca_files)
        self._proxies = site.proxies
        self.roots = roots(site.ca_files)
        self._deactivates = site.deactivates
        self._registrar = Registrar(
            directory_url=site.directory,
            issuer=self.name,
            holder=site.holder,
            binding=f"{site.called('eab_kid')} and {site.called('eab_hmac' if site.plain else 'eab_hmac_file')}",
            accounts=accounts,
            leases=leases,
            sleep=sleep,
        )
        self._accounts = accounts
        self._clock, self._sleep = clock, sleep
        self._idle: deque[Network] = deque()
        self._lock = threading.Lock()
        self._shared: _Shared | None = None
        self._offered: tuple[str | None, float] | None = None

    def issue(self, request: IssueRequest, journal: Journal, prover: Prover, keep: Keep = lambda _: None) -> bytes:
        """See ports.Issuer. Besides what is listed there, Refused for a CSR or a profile the CA will not have.

        Raises Busy when the account has got another key meanwhile: the journalled order goes on with that one.
        """
        with self._network() as network:
            session = self._ready(network, request)
            try:
                return Issuance(session, request, journal, prover, keep).run()
            except ProblemReply as refused:
                self._check_key(session)
                raise self._error(refused.problem, request, session) from None
            except (OrderKept, Refused):
                self._check_key(session)
                # It may be the account that is wrong: whoever mends it need not restart us.
                self._forget()
                raise

    def _check_key(self, session: Session) -> None:
        """Raises Busy when the session's key is no longer the account's."""
        try:
            now = self._registrar.current()
            if now is None or now.uri != session.account.uri or now == session.account:
                return
            if now.next_key is None and now.private_key == session.account.private_key:
                return
            self._forget()
            now = self._learned(session.network).account
        except (KnitError, ProblemReply):
            return
        if now.private_key != session.account.private_key:
            message = f"the key of the account {now.uri} was changed meanwhile: the order goes on with the new one"
            raise Busy(message) from None

    def renewal_info(self, ari_id: str) -> Answer | None:
        """See ports.Adviser. Needs no account."""
        with self._network() as network:
            try:
                url = self._renewal_info(network)
            except ProblemReply as refused:
                raise error_of(refused.problem) from None
            return None if url is None else ari.ask(network, url, ari_id, self._clock())

    def revoke(self, serial: str, reason: str, bundle: Bundle | None = None) -> None:
        """See the port Revoker. By our account, if there is one; where it may not, by the certificate's own key.

        Raises Busy when the account has got another key meanwhile.
        """
        if bundle is None:
            raise Refused("this CA has to be shown the certificate that it is to revoke")
        with self._network() as network:
            directory = self._directory(network)
            account = self._known_account(network, directory)
            why = revoking.by_account(network, directory, account, bundle, reason)
            if why is None:
                return
            if self._known_account(network, directory) != account:
                raise Busy("the account was changed meanwhile: the CA is asked again")
            revoking.by_key(network, directory, bundle, reason, why)

    def _known_account(self, network: Network, directory: Directory) -> Account | None:
        """None is registered to revoke with: the certificate's key will do."""
        try:
            found = self._accounts.get(self.directory, self.name)
            return None if found is None else settled(network, directory, found, self._accounts)
        except ProblemReply as refused:
            raise error_of(refused.problem) from None
        except Misconfigured as error:
            log.warning("account not used to revoke with", extra={"issuer": self.name, "reason": str(error)})
            return None

    def close(self) -> None:
        """End the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _ready(self, network: Network, request: IssueRequest) -> Session:
        """Whatever is wrong with the directory or the account, an order that has been finalized is not over for it."""
        try:
            return self._session(network)
        except ProblemReply as refused:
            error = self._error(refused.problem, request, None)
            raise kept(refused.problem) if request.finalized else error from None
        except (CredentialsRejected, Misconfigured) as error:
            if request.finalized:
                raise OrderKept(f"{error}; {KEPT}") from None
            raise IssuerUnusable(str(error)) if isinstance(error, Misconfigured) else error from None

    def _error(self, problem: Problem, request: IssueRequest, session: Session | None) -> KnitError:
        error = error_of(problem, request.names)
        if isinstance(error, CredentialsRejected):
            self._forget()
            if session is not None and problem.code == "unauthorized":
                return self._about_account(session) or error
        return error

    def _about_account(self, session: Session) -> AccountUnusable | None:
        """Where it is the whole account that may do nothing, and not this request."""
        try:
            stands = standing(session.network, session.directory, session.account)
        except KnitError:
            return None
        if stands.objection is None:
            return None
        said = f"the CA does not let the account {session.account.uri} do anything ({stands.objection})"
        return AccountUnusable(f"{said}: {another_account(self.name)}")

    def _session(self, network: Network) -> Session:
        shared = self._learned(network)
        network.sign_as(shared.signer, shared.account.uri, shared.directory.new_nonce)
        return Session(
            network=network,
            directory=shared.directory,
            account=shared.account,
            signer=shared.signer,
            poller=Poller(self._clock, self._sleep),
            deactivates=self._deactivates,
        )

    def _renewal_info(self, network: Network) -> str | None:
        """Where the CA offers it, as its directory said within the last hour."""
        known = self._offered
        if known is None or time.monotonic() - known[1] >= DIRECTORY_SECONDS:
            known = self._offered = self._read(network).renewal_info, time.monotonic()
        return known[0]

    @contextmanager
    def _network(self) -> Iterator[Network]:
        try:
            network = self._idle.pop()
        except IndexError:
            network = Network(self._connection, self._hosts, self._clock, self._sleep)
        try:
            yield network
        finally:
            self._idle.append(network)

    def _connection(self, origin: Origin) -> Connection:
        return Connection(origin, self._context, self._sleep, self._proxies.of(origin.host, origin.port))

    def _learned(self, network: Network) -> _Shared:
        shared = self._shared
        if shared is not None and time.monotonic() - shared.read_at < DIRECTORY_SECONDS and self._is_current(shared):
            return shared
        with self._lock:
            if self._shared is shared:
                self._shared = self._learn(network)
            return self._shared or self._learn(network)

    def _is_current(self, shared: _Shared) -> bool:
        """Whether nobody has ended or forgotten the account, or given it another key. One question to PostgreSQL."""
        now, known = self._registrar.current(), shared.account
        if now is None or now.deactivated_at is not None:
            return False
        return (now.uri, now.private_key) == (known.uri, known.private_key)

    def _learn(self, network: Network) -> _Shared:
        directory = self._read(network)
        account = self._registrar.account(network, directory)
        return _Shared(
            directory=directory, signer=Signer(account.private_key), account=account, read_at=time.monotonic()
        )

    def _directory(self, network: Network) -> Directory:
        try:
            return self._shared.directory if self._shared is not None else self._read(network)
        except ProblemReply as refused:
            raise error_of(refused.problem) from None

    def _read(self, network: Network) -> Directory:
        try:
            return Directory.from_reply(network.get(self.directory), self._hosts)
        except ProblemReply as refused:
            if refused.problem.code or not 300 <= refused.problem.status < 500 or refused.problem.is_limit:
                raise
            text = f"{refused.problem.text} at {self.directory}; {self._site.doubt}"
            raise ProblemReply(replace(refused.problem, text=text)) from None
        except Garbled as error:
            raise Garbled(f"{error} ({self.directory}); {self._site.doubt}") from None

    def _forget(self) -> None:
        """So that an account mended in Postgres is seen without a restart."""
        with self._lock:
            self._shared = None
