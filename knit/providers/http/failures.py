"""What became of a request that got no answer."""

from __future__ import annotations

import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from knit.errors import Unreachable

_BEFORE = (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError)


class Unanswered(Unreachable):
    """No answer, or half of one. `arrived`: the request may have reached the other side all the same."""

    def __init__(self, message: str, *, arrived: bool) -> None:
        super().__init__(message)
        self.arrived = arrived


def arrived(e: Exception) -> bool:
    """Whether the request may have been sent."""
    if isinstance(e, _BEFORE):
        return False
    reasons = (getattr(part, "reason", part) for part in e.args)
    return not any(isinstance(reason, NewConnectionError) for reason in reasons)


def why(e: Exception) -> str:
    """The cause in words that hold nothing of the request."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (requests.exceptions.SSLError, "TLS failed"),
        (requests.exceptions.ConnectTimeout, "no connection in time"),
        (requests.exceptions.Timeout, "no answer in time"),
        (ReadTimeoutError, "no answer in time"),
        (requests.exceptions.ProxyError, "the proxy failed"),
        (requests.exceptions.ContentDecodingError, "an answer too long, too slow or undecodable"),
        (requests.exceptions.ConnectionError, "no connection"),
    )
    return next((words for kind, words in kinds if isinstance(e, kind)), "a broken answer")
