"""Reports of nodes, one hash each: written by its node, read by the centre, which trusts no node with its memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from knit.core.report import HEAD, HEAD_BYTES, PART_BYTES, valid_name
from knit.errors import KnitError, Refused
from knit.valkey.dial import Endpoint
from knit.valkey.layout import Layout
from knit.valkey.replies import Incoming, ServerError, number, page, text
from knit.valkey.site import Site
from knit.valkey.wire import Command, Patience, Wire

T = TypeVar("T")

PAGE = 1000
"""Keys that one SCAN looks at, about."""

MOST = 100_000
"""Keys that it may answer with."""

KEY_BYTES = 16 * 1024 * 1024
PORTION = 500
"""Commands that are sent before their answers are read."""

RUN = 60.0
"""Seconds for all questions of one collection, and more at the pace of `wire.PACE`."""

_PAGE = partial(page, most=MOST, total=KEY_BYTES)
_HEAD = partial(text, longest=HEAD_BYTES)
_PART = partial(text, longest=PART_BYTES)
_GLOB = re.compile(r"([*?\[\]\\^-])")


class ValkeyReports:
    """The port Reports. Sizes are asked for first: a node may have written anything, of any size. One thread only."""

    def __init__(self, site: Site, layout: Layout) -> None:
        self._site = site
        self._layout = layout
        self._wire = Wire(Endpoint.of(site))
        self._patience = Patience(RUN)

    def names(self) -> Sequence[str]:
        """See the port. With this question a collection begins."""
        self._patience = Patience(RUN)
        start = self._layout.reports
        pattern = _GLOB.sub(r"\\\1", start) + "*"
        keys = (key.decode(errors="replace") for key in self._scanned(pattern))
        return sorted(name for name in (key.removeprefix(start) for key in keys) if valid_name(name))

    def heads(self, names: Sequence[str]) -> Mapping[str, tuple[bytes, timedelta | None] | KnitError]:
        """See the port."""
        keys = [self._layout.report(name) for name in names]
        sizes = self._ask([("HSTRLEN", key, HEAD) for key in keys], number)
        found: dict[str, tuple[bytes, timedelta | None] | KnitError] = {}
        whole = []
        for name, size in zip(names, sizes, strict=True):
            if isinstance(size, ServerError):
                found[name] = self._meant(size)
            elif size > HEAD_BYTES:
                found[name] = Refused("its report is too large")
            elif size:
                whole.append(name)
        heads = self._ask([("HGET", self._layout.report(name), HEAD) for name in whole], _HEAD)
        ends = self._ask([("PTTL", self._layout.report(name)) for name in whole], number)
        for name, head, end in zip(whole, heads, ends, strict=True):
            if isinstance(head, bytes) and isinstance(end, int):
                found[name] = head, None if end < 0 else timedelta(milliseconds=end)
        return found

    def parts(self, name: str, numbers: Sequence[int]) -> Mapping[int, bytes] | KnitError:
        """See the port."""
        key = self._layout.report(name)
        sizes = self._ask([("HSTRLEN", key, str(part)) for part in numbers], number)
        if any(isinstance(size, ServerError) or size > PART_BYTES for size in sizes):
            return Refused("a part of its report is too large")
        found = self._ask([("HGET", key, str(part)) for part in numbers], _PART)
        return {part: raw for part, raw in zip(numbers, found, strict=True) if isinstance(raw, bytes)}

    def close(self) -> None:
        """See the port."""
        self._wire.close()

    def _scanned(self, pattern: str) -> Iterator[bytes]:
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            asked = ("SCAN", cursor, "MATCH", pattern, "COUNT", str(PAGE))
            (answer,) = self._wire.ask([asked], _PAGE, self._patience)
            if isinstance(answer, ServerError):
                raise self._site.answered(answer.code, "scan")
            cursor = answer[0].decode(errors="replace")
            # A page may have keys of one before.
            yield from answer[1] - seen
            seen |= answer[1]
            if cursor == "0":
                return

    def _ask(self, commands: Sequence[Command], read: Callable[[Incoming], T]) -> list[T | ServerError]:
        found: list[T | ServerError] = []
        for start in range(0, len(commands), PORTION):
            found += self._wire.ask(commands[start : start + PORTION], read, self._patience)
        return found

    def _meant(self, error: ServerError) -> KnitError:
        if error.code == "WRONGTYPE":
            return Refused("its report is no hash")
        raise self._site.answered(error.code, "hstrlen")
