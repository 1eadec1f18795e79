"""Every error knit raises on purpose.

KnitError
├── Misconfigured            a setting or an argument is wrong: the process must not start (exit code 2)
│   └── IssuerUnusable       that is what an issuer needs here: the next issuer of the certificate may be asked instead
├── Transient                trying again later may help; `retry_at` when the other side said when
│   ├── Unreachable          a service did not answer, or answered that it cannot serve now
│   │   ├── IssuerDown       that is the CA: the next issuer of the certificate may be asked instead
│   │   ├── Outage           knit's own PostgreSQL, Valkey or queue is away: nobody's failure, tried again soon
│   │   │   └── RowHeld      somebody's open transaction holds a row of PostgreSQL
│   │   └── OrderKept        a certificate may have been issued already: its order and key are kept and asked for again
│   ├── RateLimited          the CA or the DNS provider asked to wait
│   │   └── AccountLimited   the CA asked the account to wait, so all its certificates
│   ├── OverBudget           the CA's limits leave no room for an order now: nothing was begun, and nothing has failed
│   ├── NotVisible           a TXT record was not seen on every server before the deadline
│   ├── Busy                 another process holds what this needs; nothing is wrong
│   ├── Interrupted          this process is stopping; the journal says where to go on
│   └── LeaseLost            another worker has taken over; nothing more may be written
└── Refused                  trying the same again will not help: a person or a change is needed
    ├── IdentifierRejected   the CA will not issue for this name (CAA, policy, failed validation)
    ├── NotOffered           the CA has no such profile: the next issuer of the certificate may be asked instead
    │   └── KeyRefused       it does not take the key, or its kind
    ├── CredentialsRejected  the CA, the DNS provider, Postgres or Valkey does not accept who we are
    │   ├── AccountUnusable  that is the CA: the next issuer of the certificate may be asked instead
    │   └── ServerDenied     that is a server of knit's own: nobody's failure, tried again slowly
    │       └── NotPermitted PostgreSQL knows us, and our user lacks a right there
    ├── BundleMismatch       certificate and key are not what was asked for
    ├── OrderLost            a finalized order cannot become a certificate here any more
    ├── ForeignValkey        database and certificate Valkey do not belong together
    ├── UnsafePublish        a prune that would remove more than the guard allows
    ├── Elsewhere            a published value is for other nodes than this one
    └── NoSuchCertificate    no row matches

The class says whether trying again can help. The text is for a person: no secrets, no key bytes.
"""

from __future__ import annotations

from datetime import datetime


class KnitError(Exception):
    """Root of the tree; catch it only at a process edge."""


def class_of(error: BaseException) -> str:
    """The name of its class in the tree above: a package's own kind of error counts as what it is a kind of."""
    kinds = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == __name__)
    return next(kinds, type(error).__name__)


class Misconfigured(KnitError):
    """A setting or an argument is wrong; the text names it, its value (unless secret) and what is allowed."""


class IssuerUnusable(Misconfigured):
    """What is set for an issuer, or the key of its account, cannot be used by this process: others may be asked."""


class Transient(KnitError):
    """Trying again may help."""

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class Unreachable(Transient):
    """A service did not answer, or answered that it cannot serve now."""


class IssuerDown(Unreachable):
    """The CA did not answer, or answered that it cannot serve now, before a certificate can have been issued."""


class Outage(Unreachable):
    """A server of knit's own (PostgreSQL, Valkey, the queue) is away: no certificate has failed because of that."""


class RowHeld(Outage):
    """Somebody's open transaction holds a row of PostgreSQL that this needs; the others can be had."""


class OrderKept(Unreachable):
    """A certificate may have been issued already, and cannot be used yet: its order and its key are kept."""


class RateLimited(Transient):
    """The other side asked to wait until `retry_at`."""


class AccountLimited(RateLimited):
    """The CA asked the account to wait. `names_only`: it said that it is because of these names, or their set."""

    def __init__(self, message: str, *, retry_at: datetime | None = None, names_only: bool = False) -> None:
        super().__init__(message, retry_at=retry_at)
        self.names_only = names_only


class OverBudget(Transient):
    """The CA's limits leave no room for an order before `retry_at`. Nothing was begun, and nothing has failed."""


class NotVisible(Transient):
    """A TXT record was not seen on every server before the deadline; the CA was not asked."""


class Busy(Transient):
    """Another process holds what this needs, for a while; nothing is wrong. `lock` is its name, where it has one."""

    def __init__(self, message: str, *, lock: str | None = None) -> None:
        super().__init__(message)
        self.lock = lock


class Interrupted(Transient):
    """This process is stopping; the journal says where to go on."""


class LeaseLost(Transient):
    """Another worker has taken over this certificate; nothing more may be written for it here."""


class Refused(KnitError):
    """Trying the same again will not help."""


class IdentifierRejected(Refused):
    """The CA will not issue for this name."""


class NotOffered(Refused):
    """The CA has not what is asked of it besides the names: such as a profile."""


class KeyRefused(NotOffered):
    """The CA does not take the key that the certificate is to be for, whatever its names."""


class CredentialsRejected(Refused):
    """The other side does not accept who we are. `forbidden`: it knows us, and this very thing is not for us."""

    def __init__(self, message: str, *, forbidden: bool = False) -> None:
        super().__init__(message)
        self.forbidden = forbidden


class AccountUnusable(CredentialsRejected):
    """The CA does not let our account order anything, or there can be none."""


class ServerDenied(CredentialsRejected):
    """A server of knit's own does not accept who we are: no certificate has failed because of that."""


class NotPermitted(ServerDenied):
    """Our user lacks a right in PostgreSQL: no certificate has failed because of that, and none goes on without it."""


class BundleMismatch(Refused):
    """Certificate and key are not what was asked for, or not a pair."""


class OrderLost(Refused):
    """A finalized order, perhaps a certificate already, is lost: its key is, or the CA does not know it any more."""


class ForeignValkey(Refused):
    """The certificate Valkey is not the one that this database publishes to."""


class UnsafePublish(Refused):
    """A prune that would remove more than the guard allows."""


class NoSuchCertificate(Refused):
    """No row matches."""


class Elsewhere(Refused):
    """A published value is for other nodes: its files are below none of the roots here, or it may not be read."""
