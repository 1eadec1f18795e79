"""Push from the certificate Valkey: says that something has changed, sooner than the next poll would."""

from __future__ import annotations

import time
from functools import partial

from knit.errors import Unreachable
from knit.valkey.dial import Endpoint
from knit.valkey.layout import Layout
from knit.valkey.replies import LINE, ServerError, push
from knit.valkey.site import Site
from knit.valkey.wire import Patience, Wire

QUIET = 15.0
"""Seconds without a word after which the server is asked whether it is still there."""

PORTION = 500
"""Hints that one `drain` takes at most: a flood of them must not keep a node from its work."""

_MESSAGE = partial(push, longest=LINE)


class Hints:
    """A connection of its own that hears what is announced. It may lose any hint."""

    def __init__(self, site: Site, layout: Layout) -> None:
        self._site = site
        self._channel = layout.channel
        self._wire = Wire(Endpoint.of(site))
        self._timeout = Endpoint.of(site).timeout
        self._heard_at = 0.0
        self._asked = False
        self.proven = False
        """Whether this connection has said anything since it was subscribed."""

    def wait(self, seconds: float) -> bool:
        """Wait for a hint; False when none came, often before `seconds` are over. Raises as every question does.

        A new subscription counts as a hint: what was said before it went unheard.
        """
        if not self._wire.is_open:
            self._subscribe()
            return True
        return self._listen(min(seconds, self._bearable()))

    def drain(self) -> None:
        """Forget the hints that are waiting: the pass that comes now answers them all."""
        patience = Patience(self._timeout)
        for _ in range(PORTION):
            if not self._wire.is_open or self._take(0, patience) is None:
                break

    def close(self) -> None:
        """Give the connection up; the next `wait` opens a new one."""
        self._wire.close()

    def _subscribe(self) -> None:
        self._wire.say(("SUBSCRIBE", self._channel))
        answer = self._wire.hear(_MESSAGE, within=self._timeout)
        self._heard_at, self._asked, self.proven = time.monotonic(), False, False
        if isinstance(answer, ServerError):
            self._wire.close()
            raise self._site.answered(answer.code)
        if not answer or answer[0] != b"subscribe":
            self._wire.close()
            raise Unreachable(f"Valkey at {self._site.where} does not answer a subscription")

    def _bearable(self) -> float:
        """Seconds until something must be done about the silence."""
        return max(self._heard_at + QUIET + (self._timeout if self._asked else 0) - time.monotonic(), 0)

    def _listen(self, seconds: float) -> bool:
        said = self._take(seconds)
        if said is None and not self._bearable():
            self._ask_for_life()
        return said is not None and said[:1] == [b"message"]

    def _take(self, seconds: float, patience: Patience | None = None) -> list[bytes] | None:
        """What the server says next, None when it says nothing. An error reply is a word too."""
        said = self._wire.hear(_MESSAGE, within=seconds, patience=patience)
        if said is None:
            return None
        self._heard_at, self._asked, self.proven = time.monotonic(), False, True
        return [] if isinstance(said, ServerError) else said

    def _ask_for_life(self) -> None:
        if self._asked:
            self._wire.close()
            raise Unreachable(f"Valkey at {self._site.where} went silent")
        self._asked = True
        self._wire.say(("PING",))
