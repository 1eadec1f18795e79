"""Renewal information (RFC 9773 section 4): an unsigned GET, over a connection that is kept."""

from __future__ import annotations

from datetime import datetime

from knit.core import ari
from knit.core.ari import Answer
from knit.errors import KnitError, RateLimited, Refused, Unreachable
from knit.issuers.acme.hosts import Garbled
from knit.issuers.acme.network import Network
from knit.issuers.acme.problems import Problem, ProblemReply, retry_at


def ask(network: Network, renewal_info: str, ari_id: str, now: datetime) -> Answer:
    """What the CA says of this certificate. Raises Unreachable, RateLimited, and Refused for this one alone."""
    try:
        reply = network.get(f"{renewal_info.rstrip('/')}/{ari_id}")
    except ProblemReply as refused:
        raise _error(refused.problem) from None
    try:
        return Answer(window=ari.window(reply.json()), ask_again=retry_at(reply, now))
    except ari.Senseless as error:
        raise Refused(str(error)) from None
    except ValueError:
        message = f"the renewal information of the CA at {network.hosts} is not JSON"
        raise Garbled(message) from None


def _error(problem: Problem) -> KnitError:
    """What is the matter with one certificate keeps nobody from asking about another."""
    text = f"the CA says: {problem}"
    if problem.is_limit:
        return RateLimited(text, retry_at=problem.retry_at)
    return Unreachable(text, retry_at=problem.retry_at) if problem.status >= 500 else Refused(text)
