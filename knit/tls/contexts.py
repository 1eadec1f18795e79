"""TLS contexts, one for each certificate, made when a client first asks for it."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from knit.core.model.certificate import Bundle
from knit.errors import Refused
from knit.tls.pairs import Pair

SetUp = Callable[[ssl.SSLContext], None]

MOST = 1_000
"""Contexts that are kept; one that is not is made anew, within a millisecond or two."""


class Contexts:
    """Contexts by their pairs. Threads share it."""

    def __init__(self, set_up: SetUp | None) -> None:
        self._set_up = set_up
        self._made: OrderedDict[int, tuple[Pair, ssl.SSLContext]] = OrderedDict()
        self._lock = Lock()
        self._trial = self.empty()

    def empty(self) -> ssl.SSLContext:
        """A context for servers, set up as all are, without a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self._set_up is not None:
            self._set_up(context)
        return context

    def of(self, pair: Pair) -> ssl.SSLContext:
        """The context of this pair. Raises Refused where OpenSSL does not take it."""
        with self._lock:
            found = self._made.get(id(pair))
            if found is not None:
                self._made.move_to_end(id(pair))
                return found[1]
        context = self.empty()
        load(context, pair.bundle)
        with self._lock:
            # The pair is kept with it, so its id stays its own.
            self._made[id(pair)] = (pair, context)
            while len(self._made) > MOST:
                self._made.popitem(last=False)
        return context

    def check(self, pair: Pair) -> None:
        """Raise Refused unless OpenSSL loads the pair. One thread at a time."""
        load(self._trial, pair.bundle)

    def keep(self, pairs: Iterator[Pair]) -> None:
        """Forget the contexts of all others."""
        kept = {id(pair) for pair in pairs}
        with self._lock:
            for number in self._made.keys() - kept:
                del self._made[number]


def load(context: ssl.SSLContext, bundle: Bundle) -> None:
    """Load the pair into the context. Raises Refused where OpenSSL does not take it."""
    privkey = bundle.privkey if bundle.privkey.endswith(b"\n") else bundle.privkey + b"\n"
    try:
        with _as_file(privkey + bundle.fullchain) as path:
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise Refused(f"OpenSSL does not take it ({error.reason or 'without a reason'})") from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that OpenSSL can open: ssl takes no bytes. The content is in memory only, under no name of a file system.

    Where the system has no such files, it is a file that only this user can read, removed at once.
    """
    opened, path = _opened()
    try:
        with os.fdopen(opened, "wb", closefd=False) as file:
            file.write(content)
        yield path
    finally:
        os.close(opened)
        if not path.startswith("/proc/"):
            os.unlink(path)  # noqa: PTH108 -- no object is made of it


def _opened() -> tuple[int, str]:
    try:
        opened = os.memfd_create("knit-tls", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return tempfile.mkstemp(prefix="knit-tls-")
    return opened, f"/proc/self/fd/{opened}"
