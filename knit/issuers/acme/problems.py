"""Problem documents (RFC 7807, RFC 8555 section 6.7) turned into knit's errors, in the CA's own words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from knit.core.retry import retry_after
from knit.core.text import clean
from knit.errors import (
    AccountLimited,
    AccountUnusable,
    IdentifierRejected,
    IssuerDown,
    KeyRefused,
    KnitError,
    NotOffered,
    OrderKept,
    RateLimited,
    Refused,
    Transient,
)
from knit.issuers.acme.transport import Reply

PREFIX: Final = "urn:ietf:params:acme:error:"
KEPT: Final = "the order and its key are kept"
UNKNOWN_ACCOUNT: Final = (
    "it has lost the account that was registered there (a test CA that was reset, or another one behind the same URL): "
    "`knit account forget` has knit register it again"
)
TOO_MANY_REQUESTS: Final = 429

NO_ACCOUNT: Final = "accountDoesNotExist"
NO_PROFILE: Final = "invalidProfile"
UNAUTHORIZED: Final = "unauthorized"


class About(Enum):
    """What a CA's word is about."""

    ACCOUNT = auto()
    NAMES = auto()
    ORDER = auto()
    """Something else of the order, and not the certificate that it says it replaces."""
    MOMENT = auto()
    """Nothing of ours: the same may well succeed later."""


ABOUT: Final[Mapping[str, About]] = {
    NO_ACCOUNT: About.ACCOUNT,
    UNAUTHORIZED: About.ACCOUNT,
    "badSignatureAlgorithm": About.ACCOUNT,
    "externalAccountRequired": About.ACCOUNT,
    "invalidContact": About.ACCOUNT,
    "unsupportedContact": About.ACCOUNT,
    "userActionRequired": About.ACCOUNT,
    "rejectedIdentifier": About.NAMES,
    "unsupportedIdentifier": About.NAMES,
    "caa": About.NAMES,
    "dns": About.NAMES,
    "dnssec": About.NAMES,
    NO_PROFILE: About.ORDER,
    "badCSR": About.ORDER,
    "badPublicKey": About.ORDER,
    "badRevocationReason": About.ORDER,
    "serverInternal": About.MOMENT,
    "badNonce": About.MOMENT,
    "orderNotReady": About.MOMENT,
}
"""Words of RFC 8555 section 6.7, RFC 9773 and others that say what a problem is about; the rest do not."""

OF_THE_KEY: Final = frozenset({"badCSR", "badPublicKey"})
"""Of all that a request says, CAs have taken the names by then: RFC 8555 section 6.7 has a short key for an example."""

NOT_REPLACED: Final = frozenset({400, 403, 404, 409})
INTERNAL: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the CA says is wrong. `code` is the ACME word, or "" when the type is not one of ACME's."""

    code: str
    text: str
    status: int = 0
    retry_at: datetime | None = None

    @classmethod
    def from_json(cls, document: object, *, status: int = 0, retry_at: datetime | None = None) -> Problem:
        """Takes any JSON value: what is no problem document gives an empty code and says so."""
        fields: dict[str, Any] = document if isinstance(document, dict) else {}
        return cls(code=clean(_code(fields), 60), text=clean(_text(fields)), status=status, retry_at=retry_at)

    @classmethod
    def from_reply(cls, reply: Reply, now: datetime) -> Problem:
        """The problem in an HTTP answer, whatever its body is."""
        try:
            document = reply.json()
        except ValueError:
            document = None
        found = cls.from_json(document, status=reply.status, retry_at=retry_at(reply, now))
        if found.text:
            return found
        text = f"HTTP status {reply.status} without a reason"
        return cls(code=found.code, text=text, status=reply.status, retry_at=found.retry_at)

    @property
    def about(self) -> About | None:
        """What is wrong, as far as its word says."""
        return ABOUT.get(self.code)

    @property
    def is_limit(self) -> bool:
        """Whether the CA was asked too often, or for too much."""
        return self.code == "rateLimited" or self.status == TOO_MANY_REQUESTS

    @property
    def is_refusal(self) -> bool:
        """Whether the CA itself, in ACME's words, refuses this very thing: not the account, not for now."""
        other = self.about in (About.ACCOUNT, About.MOMENT)
        return bool(self.code) and self.status < 500 and not self.is_limit and not other

    @property
    def may_be_about_replacing(self) -> bool:
        """Whether an order that says what it replaces (RFC 9773 section 5) may be refused because of that.

        CAs have no one word for it but alreadyReplaced: that another account has ordered it is unauthorized, that
        nobody knows it malformed, and that its search for it has failed serverInternal.
        """
        if self.status == INTERNAL:
            return self.code == "serverInternal" and self.retry_at is None
        open_to_it = self.about is None or self.code == UNAUTHORIZED
        return self.status in NOT_REPLACED and not self.is_limit and open_to_it

    @property
    def is_wait(self) -> bool:
        """Whether asking the same at once is of no use: a limit, an account to be mended, an instant to wait for."""
        mended_first = self.about is About.ACCOUNT and self.code != UNAUTHORIZED
        return self.is_limit or mended_first or (self.status >= 500 and not self.momentary)

    @property
    def momentary(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        return self.status >= 500 and self.retry_at is None

    def __str__(self) -> str:
        return f"{self.text} ({self.code})" if self.code else self.text


class ProblemReply(Exception):
    """The CA answered a request with a problem. Never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def error_of(problem: Problem, names: Collection[str] = ()) -> KnitError:
    """The knit error for a request about these names that the CA refused."""
    text = f"the CA says: {problem}"
    if problem.is_limit:
        return AccountLimited(text, retry_at=problem.retry_at, names_only=_concerns(problem, names))
    if problem.about is About.MOMENT or problem.status >= 500:
        return IssuerDown(text, retry_at=problem.retry_at)
    if problem.about is About.ACCOUNT:
        return AccountUnusable(f"{text}; {UNKNOWN_ACCOUNT}" if problem.code == NO_ACCOUNT else text)
    if problem.about is About.NAMES:
        return IdentifierRejected(text)
    if 300 <= problem.status < 400:
        return IssuerDown(f"the CA redirects (HTTP {problem.status}), which ACME does not allow")
    return _of_the_order(problem.code, text) or Refused(text)


def another_account(issuer: str) -> str:
    """Who has to act about an account that is over."""
    return (
        f"nothing is ordered from issuer {issuer} until whoever runs knit has it register another one, with "
        f"`knit account forget --issuer {issuer} --new-key`"
    )


def kept(problem: Problem) -> Transient:
    """The knit error for a problem that does not end an order which may be a certificate already."""
    text = f"the CA says: {problem}; {UNKNOWN_ACCOUNT if problem.code == NO_ACCOUNT else KEPT}"
    return (AccountLimited if problem.is_limit else OrderKept)(text, retry_at=problem.retry_at)


def rejection(subject: str, document: object) -> KnitError:
    """The knit error for an authorization or an order that has become invalid, with the CA's reason inside it."""
    problem = Problem.from_json(document)
    reason = str(problem) if problem.text or problem.code else "no reason given"
    text = f"{subject}: the CA says: {reason}"
    if problem.code == "rateLimited":
        return RateLimited(text)
    if problem.code == "serverInternal":
        return IssuerDown(text)
    return _of_the_order(problem.code, text) or IdentifierRejected(text)


def _of_the_order(code: str, text: str) -> NotOffered | None:
    """Where the CA has not what is asked of it besides the names."""
    if code in OF_THE_KEY:
        return KeyRefused(text)
    return NotOffered(text) if code == NO_PROFILE else None


def retry_at(reply: Reply, now: datetime) -> datetime | None:
    """Retry-After as an instant, at most seven days from now."""
    return retry_after(reply.headers.get("retry-after"), now)


def _concerns(problem: Problem, names: Collection[str]) -> bool:
    """Whether the CA names one of these, or a domain above it, or their set, as what there has been too much of.

    A guess at the CA's words only ever makes the wait of the other certificates shorter.
    """
    said = problem.text.lower()
    return "exact set" in said or any(domain in said for name in names for domain in _domains(name))


def _domains(name: str) -> list[str]:
    labels = name.removeprefix("*.").split(".")
    return [".".join(labels[start:]) for start in range(max(len(labels) - 1, 1))]


def _code(fields: dict[str, Any]) -> str:
    """Of a problem that only gathers others of one kind, theirs (RFC 8555 section 6.7.1)."""
    code = _word(fields)
    gathered = {_word(item) for item in _inner(fields)} if code == "compound" else set()
    return gathered.pop() if len(gathered) == 1 else code


def _word(fields: dict[str, Any]) -> str:
    kind = fields.get("type")
    return kind.removeprefix(PREFIX) if isinstance(kind, str) and kind.startswith(PREFIX) else ""


def _inner(fields: dict[str, Any]) -> list[dict[str, Any]]:
    inner = fields.get("subproblems")
    return [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else []


def _text(fields: dict[str, Any]) -> str:
    parts = [_words(fields)]
    instance = fields.get("instance")
    if isinstance(instance, str):
        parts.append(f"see {instance}")
    parts += [_sub(item) for item in _inner(fields)]
    return "; ".join(part for part in parts if part)


def _words(fields: dict[str, Any]) -> str:
    found = fields.get("detail") or fields.get("title")
    return found if isinstance(found, str) else ""


def _sub(fields: dict[str, Any]) -> str:
    identifier = fields.get("identifier")
    name = identifier.get("value") if isinstance(identifier, dict) else None
    return f"{name}: {_words(fields)}" if isinstance(name, str) else _words(fields)
