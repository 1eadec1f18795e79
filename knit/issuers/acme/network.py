"""Signed requests of one thread: nonces, JWS, and the tries that one request deserves."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

import knit
from knit.errors import IssuerDown, Unreachable
from knit.issuers.acme.hosts import Garbled, Hosts
from knit.issuers.acme.jws import Signer
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.problems import Problem, ProblemReply
from knit.issuers.acme.transport import Connection, Reply
from knit.ports.process import Clock, Sleep

NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
NONCE_TRIES: Final = 20
TRIES: Final = 3
LONGEST_WAIT: Final = 2.0
"""Seconds."""

COMMON: Final = f"User-Agent: knit/{knit.__version__}\r\nAccept-Language: en\r\n"
SIGNED: Final = f"{COMMON}Content-Type: application/jose+json\r\n"


class Network:
    """One thread's way to the CA. `account` is the account's URL, None until there is one."""

    def __init__(self, connect: Callable[[Origin], Connection], hosts: Hosts, clock: Clock, sleep: Sleep) -> None:
        self.hosts = hosts
        self._connect = connect
        self._home = connect(hosts.home)
        self._others: dict[Origin, Connection] = {}
        self._clock = clock
        self._nonce: str | None = None
        self._new_nonce = ""
        self._signer: Signer | None = None
        self._account: str | None = None
        self._tries = _tries(sleep)

    def sign_as(self, signer: Signer, account: str | None, new_nonce: str) -> None:
        """Sign from now on with this key for this account (None: not registered yet)."""
        self._signer, self._account, self._new_nonce = signer, account, new_nonce

    def close(self) -> None:
        """End the connections; a later request opens another."""
        for connection in (self._home, *self._others.values()):
            connection.close()

    def get(self, url: str) -> Reply:
        """An unsigned GET, as the directory takes it. Raises ProblemReply and Unreachable."""
        return self._tries(self._plain, "GET", url)

    def post(self, url: str, payload: bytes = b"") -> Reply:
        """A signed POST, tried again where that may help; no payload is POST-as-GET.

        Raises ProblemReply when the CA refuses, Unreachable, Interrupted.
        """
        try:
            return self.post_once(url, payload)
        except (ProblemReply, Unreachable) as first:
            if not _may_pass(first):
                raise
        # Only now the policy: to ask it about each request that goes well would cost a tenth of the whole CPU.
        return self._tries(self.post_once, url, payload)

    def post_once(self, url: str, payload: bytes) -> Reply:
        """Like `post`, but sent again only when the CA refused the nonce, so had no effect yet."""
        for _ in range(NONCE_TRIES):
            try:
                return self._signed(url, payload)
            except ProblemReply as refused:
                if refused.problem.code != "badNonce":
                    raise
        message = f"the CA at {self.hosts} refused {NONCE_TRIES} fresh nonces in a row"
        raise IssuerDown(message)

    def _signed(self, url: str, payload: bytes) -> Reply:
        if self._signer is None:
            message = "a request cannot be signed before the account key is known"
            raise RuntimeError(message)
        nonce, self._nonce = self._nonce or self._fresh_nonce(), None
        body = self._signer.sign(url, nonce, payload, self._account)
        return self._checked(self._to(url).exchange("POST", _target(url), SIGNED, body))

    def _fresh_nonce(self) -> str:
        self._plain("HEAD", self._new_nonce)
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            message = f"the CA at {self.hosts} gave no nonce"
            raise Garbled(message)
        return nonce

    def _plain(self, method: str, url: str) -> Reply:
        return self._checked(self._to(url).exchange(method, _target(url), COMMON))

    def _to(self, url: str) -> Connection:
        if self._home.origin.holds(url):
            return self._home
        origin = Origin.of(url)
        if origin not in self._others:
            self._others[origin] = self._connect(origin)
        return self._others[origin]

    def _checked(self, reply: Reply) -> Reply:
        nonce = reply.headers.get("replay-nonce", "")
        if NONCE.fullmatch(nonce):
            self._nonce = nonce
        if 200 <= reply.status < 300:
            return reply
        raise ProblemReply(Problem.from_reply(reply, self._clock()))


def _target(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ProblemReply):
        return error.problem.momentary
    return isinstance(error, Unreachable) and not isinstance(error, Garbled)


def _tries(sleep: Sleep) -> Retrying:
    """One request that has failed once: three more tries, only while that may help.

    The first at once (a kept connection may just have ended), the others up to two seconds, at random, later. Tries of
    a whole certificate are the journal's business.
    """
    return Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.25, max=LONGEST_WAIT),
        retry=retry_if_exception(_may_pass),
        sleep=sleep,
        reraise=True,
    )
