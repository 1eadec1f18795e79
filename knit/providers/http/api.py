"""The one HTTP client of all DNS providers with an API: bounded in time, size and tries, and silent about secrets.

One `Api` is one account at one base URL. What comes back is bytes until `Reply.parse` has checked it against a
pydantic model, so nothing behind this file meets a shape it does not expect.
"""

from __future__ import annotations

import html
import json as jsonlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import requests
from urllib3.exceptions import HTTPError

from knit.core.retry import retry_after
from knit.errors import CredentialsRejected, Interrupted, Misconfigured, RateLimited, Refused, Unreachable
from knit.providers.base import Runtime
from knit.providers.http.accounts import Account, Signed, opened, proxies_for
from knit.providers.http.exchange import Body, Reply
from knit.providers.http.failures import Unanswered, arrived, why
from knit.providers.http.leaving import until_stopped
from knit.providers.http.tls import session as trusting
from knit.providers.http.turns import Turns

T = TypeVar("T")
C = TypeVar("C")

_CONNECT = 8.0
_BODY_LIMIT = 4 * 1024 * 1024
_SHOWN = 400
_TRIES = 3
_BACKOFF = (0.5, 2.0)
_SHORT_WAIT = 10.0
_SOON = 5.0
"""A stop waits for calls that take no longer (seconds)."""
_IDEMPOTENT = {"GET", "HEAD", "PUT", "DELETE"}
_PAGES = 1000
_CHUNK = 65536
_CREDENTIAL = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_NOT_NOW = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY}
"""The zone is busy with another change, or the request came too early or too slowly: nothing a person must mend."""
_PASSING = {
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}

MISSING = (HTTPStatus.NOT_FOUND,)
"""For `ok=`: not finding the thing is an answer."""


class Api:
    """Calls one provider's API. Safe to share between threads: each has its own connection."""

    def __init__(
        self,
        base_url: str,
        account: Account,
        runtime: Runtime,
        *,
        timeout: float,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """`base_url` may hold `user:password@`, for a server that wants basic authentication (of its own, or besides).

        `proxies` (URLs by `http` and `https`, hosts under `no_proxy`) go before those of the environment.
        """
        base, account = opened(base_url, account)
        if not base.startswith(("https://", "http://")):
            raise Misconfigured(f"{account.provider}: the API's address must start with https://, not {base!r}")
        self._base = base.rstrip("/")
        self._proxies = proxies_for(self._base, proxies or {})
        self._account = account
        self._runtime = runtime
        self._timeout = timeout
        self._threads = threading.local()
        self._turns = Turns(runtime)

    def get(self, path: str, params: Mapping[str, str] | None = None, *, ok: Iterable[int] = ()) -> Reply:
        """`call` for reading."""
        return self.call("GET", path, Body(params=params), ok=ok)

    def call(self, method: str, path: str, body: Body | None = None, *, ok: Iterable[int] = ()) -> Reply:
        """One request; gives back 2xx answers and those whose status is in `ok`.

        A 5xx answer is tried again twice, a short Retry-After is waited for; so only send what may arrive twice. When
        no connection is made, or no answer comes to a request that is idempotent, it is sent once more.
        Raises CredentialsRejected (401, 403), RateLimited (429), Unreachable (5xx, busy, no answer, a broken one) and
        Refused (any other status), in the provider's own words.
        """
        accepted = frozenset(ok)
        with ExitStack() as turn:
            turn.enter_context(self._turns.turn())
            for pause in _BACKOFF[: _TRIES - 1]:
                reply = self._sent(method, path, body or Body())
                if reply.status in accepted or not self._waited(reply, pause, turn):
                    return self._checked(reply, accepted)
            return self._checked(self._sent(method, path, body or Body()), accepted)

    def fail(self, reply: Reply) -> Exception:
        """The error for an answer that says no; for APIs that say so with status 200, too."""
        account, said = self._account, f" (HTTP {reply.status}): {reply.said}"
        if reply.status in _CREDENTIAL:
            text = f"{account.provider} does not accept the credential{said}; it needs {account.rights}"
            return CredentialsRejected(text, forbidden=reply.status == HTTPStatus.FORBIDDEN)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            retry_at = self._retry_at(reply)
            return RateLimited(f"{account.provider} asks to slow down{said}", retry_at=retry_at)
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or reply.status in _NOT_NOW:
            return Unreachable(f"{account.provider} cannot serve now{said}", retry_at=self._retry_at(reply))
        return Refused(f"{account.provider} refused{said}")

    def rejected(self, said: str) -> CredentialsRejected:
        """For APIs that report a bad credential in the body instead of by status 401."""
        account = self._account
        return CredentialsRejected(
            f"{account.provider} does not accept the credential: {self._clean(said)}; it needs {account.rights}"
        )

    def refused(self, said: str) -> Refused:
        """For APIs that report a refusal in the body instead of by status."""
        return Refused(f"{self._account.provider} refused: {self._clean(said)}")

    def limited(self, said: str) -> RateLimited:
        """For APIs that report a rate limit in the body instead of by status 429."""
        return RateLimited(f"{self._account.provider} asks to slow down: {self._clean(said)}")

    def _checked(self, reply: Reply, accepted: frozenset[int]) -> Reply:
        if reply.status in accepted or HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return reply
        raise self.fail(reply)

    def _waited(self, reply: Reply, pause: float, turn: ExitStack) -> bool:
        """Wait before the same request may work; False when waiting here is no use."""
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            retry_at = self._retry_at(reply)
            if retry_at is None or (retry_at - self._runtime.clock()).total_seconds() > _SHORT_WAIT:
                return False
            turn.enter_context(self._turns.wait_until(retry_at))
            return True
        if reply.status not in _PASSING or "retry-after" in reply.headers:
            return False
        self._runtime.sleep(pause)
        return True

    def _retry_at(self, reply: Reply) -> datetime | None:
        return retry_after(reply.headers.get("retry-after"), self._runtime.clock())

    def _sent(self, method: str, path: str, body: Body) -> Reply:
        try:
            return self._waited_for(method, path, body)
        except Unanswered as e:
            if e.arrived and not body.again and method not in _IDEMPOTENT:
                raise
        self._runtime.sleep(_BACKOFF[0])
        return self._waited_for(method, path, body)

    def _waited_for(self, method: str, path: str, body: Body) -> Reply:
        session = self._session()
        if self._timeout <= _SOON:
            return self._send(session, method, path, body)
        try:
            return until_stopped(lambda: self._send(session, method, path, body), self._runtime.sleep)
        except Interrupted:
            # The thread that was left behind still has it.
            self._threads.session = None
            raise

    def _send(self, session: requests.Session, method: str, path: str, body: Body) -> Reply:
        deadline = time.monotonic() + 3 * self._timeout
        try:
            with session.request(
                method,
                self._base + path,
                params=body.params,
                json=body.json,
                data=body.raw if body.form is None else body.form,
                headers=body.headers,
                auth=Signed(self._account),
                proxies=self._proxies,
                timeout=(min(_CONNECT, self._timeout), self._timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._reply(response, _bounded(response, deadline))
        except (requests.RequestException, HTTPError, OSError, ValueError) as e:
            # The text of these may hold the URL, and some providers want their token in it.
            raise Unanswered(f"{self._account.provider}: {why(e)} at {self._host()}", arrived=arrived(e)) from None

    def _reply(self, response: requests.Response, body: bytes) -> Reply:
        return Reply(
            provider=self._account.provider,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body,
            said=self._clean(_words(body.decode("utf-8", "replace"))) or "no reason given",
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = trusting(self._runtime.trust)
            session.headers["User-Agent"] = "knit"
            session.headers["Accept"] = "application/json"
        return session

    def _host(self) -> str:
        return self._base.split("/")[2]

    def _clean(self, text: str) -> str:
        for secret in self._account.secrets:
            text = text.replace(secret, "***") if secret else text
        line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def paged(fetch: Callable[[C], tuple[Iterable[T], C | None]], start: C) -> Iterator[T]:
    """Every item of all pages: `fetch(cursor)` gives one page and the next cursor, None after the last.

    Raises Unreachable when the pages do not end.
    """
    cursor: C | None = start
    for _ in range(_PAGES):
        if cursor is None:
            return
        items, cursor = fetch(cursor)
        yield from items
    if cursor is not None:
        raise Unreachable(f"the API's list does not end after {_PAGES} pages")


def quoted(value: str) -> str:
    """A TXT value as zone-file text: in double quotes, as many APIs want it."""
    return jsonlib.dumps(value)


def unquoted(text: str) -> str:
    """The TXT value of zone-file text: quotes taken off, several strings joined (RFC 1035 section 5.1)."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    return re.sub(r"\\(.)", r"\1", "".join(parts)) if parts else text


def _words(text: str) -> str:
    """The text of an answer in XML or HTML, so that its markup does not push the reason out of sight."""
    return html.unescape(re.sub(r"<[^>]*>", " ", text)) if text.lstrip().startswith("<") else text


def _bounded(response: requests.Response, deadline: float) -> bytes:
    """The whole body; a body that is too long or drips too slowly is a broken answer."""
    raw: Any = response.raw
    chunks: list[bytes] = []
    size = 0
    while chunk := raw.read1(_CHUNK, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > _BODY_LIMIT or time.monotonic() > deadline:
            raise requests.exceptions.ContentDecodingError
    return b"".join(chunks)
