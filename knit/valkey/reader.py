"""The node's side of the certificate Valkey: it reads, and a replica will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from knit.core.value import MAX_BYTES
from knit.errors import Elsewhere, KnitError, Refused
from knit.valkey.dial import Endpoint
from knit.valkey.layout import Layout
from knit.valkey.replies import Incoming, ServerError, text, texts
from knit.valkey.site import Site
from knit.valkey.wire import Patience, Wire

LONGEST_REVISION = 16
"""Digits of 2**53, up to which a sorted set's scores are exact."""

MOST_KEYS = 200_000
KEY_BYTES = 16 * 1024 * 1024
"""Of all keys in one answer together."""

PASS = 60.0
"""Seconds for all questions of one pass, and more at the pace of `wire.PACE`."""

_REVISION = partial(text, longest=LONGEST_REVISION + 1)
_KEYS = partial(texts, most=MOST_KEYS, total=KEY_BYTES)
_VALUE = partial(text, longest=MAX_BYTES + 1)

T = TypeVar("T")


class ValkeyReader:
    """The source of a node that reads Valkey itself: values, index and change feed, each as the server has it now."""

    def __init__(self, site: Site, layout: Layout) -> None:
        self._site = site
        self._layout = layout
        self._wire = Wire(Endpoint.of(site))
        self._patience = Patience(PASS)

    def revision(self) -> int | None:
        """The change feed's revision; None when no publisher writes one. With this question a pass begins."""
        self._patience = Patience(PASS)
        found = self._ask("GETRANGE", self._layout.revision, "0", str(LONGEST_REVISION), read=_REVISION)
        return int(found) if found is not None and found.isdigit() and len(found) <= LONGEST_REVISION else None

    def changed(self, since: int) -> set[str]:
        """Keys whose last change came after this revision."""
        keys = self._ask("ZRANGEBYSCORE", self._layout.revisions, f"({since}", "+inf", read=_KEYS)
        return {_text(key) for key in keys}

    def index(self) -> set[str]:
        """All index members."""
        return {_text(key) for key in self._ask("SMEMBERS", self._layout.index, read=_KEYS)}

    def values(self, keys: Sequence[str]) -> dict[str, bytes | KnitError]:
        """The raw values; absent ones are left out. An error stands for a key that holds no text.

        Of a value that is too large no more is read than shows that it is.
        """
        questions = [("GETRANGE", key, "0", str(MAX_BYTES)) for key in keys]
        answers = self._wire.ask(questions, _VALUE, self._patience)
        return {key: self._reading(answer) for key, answer in zip(keys, answers, strict=True) if answer}

    def close(self) -> None:
        """Give the connection up; the next question opens a new one."""
        self._wire.close()

    def _ask(self, *command: str, read: Callable[[Incoming], T]) -> T:
        (answer,) = self._wire.ask([command], read, self._patience)
        if isinstance(answer, ServerError):
            raise self._site.answered(answer.code)
        return answer

    def _reading(self, answer: bytes | ServerError) -> bytes | KnitError:
        if isinstance(answer, bytes):
            return answer
        if answer.code == "NOPERM":
            return Elsewhere("this node's user has no right to read it")
        failure = self._site.answered(answer.code)
        return Refused("its key holds something else than a text") if isinstance(failure, Refused) else failure


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
