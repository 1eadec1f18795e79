"""The published side of the certificate Valkey: values, index and change feed.

Each change is one Lua script, hence one transaction. MULTI is not used: its error texts repeat the whole command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from knit.errors import Refused
from knit.ports import NewValue, Publication
from knit.valkey.connect import Link
from knit.valkey.layout import Layout

CHUNK = 500
"""Keys per round trip: some 2 MB of values, a few milliseconds of the server."""

FARTHEST = 366 * 24 * 3600
"""Seconds that a generation can be ahead of the server's clock. One that is farther ahead is not one of ours, and would
leave no room above it."""

_BUMP = """
local function bump()
  local now = redis.call('TIME')
  local before = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
  local revision = string.format('%.0f', math.max(before + 1, now[1] * 1000000 + now[2]))
  redis.call('SET', KEYS[2], revision)
  return revision
end
"""

# A stored value that is no string, no JSON or has no sensible mark of ours never stands in the way of a good one.
_PUBLISH = (
    _BUMP
    + """
local function as_new(key, wanted)
  local stored = redis.pcall('GET', key)
  if type(stored) ~= 'string' then return false end
  local readable, document = pcall(cjson.decode, stored)
  local mark = readable and type(document) == 'table' and document.knit
  local generation = type(mark) == 'table' and mark.generation
  local sensible = type(generation) == 'number' and generation <= redis.call('TIME')[1] + ARGV[2]
  return sensible and generation >= tonumber(wanted) and string.format('%.0f', generation)
end
local answers, changed, refused = {}, {}, false
for place = 4, #KEYS do
  local key, value, generation = KEYS[place], ARGV[place * 2 - 5], ARGV[place * 2 - 4]
  local found = as_new(key, generation)
  if not found then
    local reply = redis.pcall('SET', key, value)
    if reply.err then refused = reply; break end
    redis.call('SADD', KEYS[1], key)
    changed[#changed + 1] = key
  end
  answers[#answers + 1] = found or ''
end
-- What was set before one was refused is published all the same: nothing takes a script back.
if #changed > 0 then
  local revision = bump()
  for _, key in ipairs(changed) do redis.call('ZADD', KEYS[3], revision, key) end
  redis.call('PUBLISH', ARGV[1], revision)
end
return refused or answers
"""
)

_PRUNE = (
    _BUMP
    + """
for position = 4, #KEYS do
  redis.call('SREM', KEYS[1], KEYS[position])
  redis.call('ZREM', KEYS[3], KEYS[position])
  if ARGV[position - 2] == 'value' then redis.call('DEL', KEYS[position]) end
end
redis.call('PUBLISH', ARGV[1], bump())
return false
"""
)

# Two texts, names separated by NUL (which no Postgres text can hold), instead of two arrays: a client reads ten
# thousand names from one reply in a millisecond or two. One EXISTS for a thousand names costs the server a third of a
# thousand calls; only where its count falls short is each name asked about.
_SURVEY = """
local members = redis.call('SMEMBERS', KEYS[1])
local missing = {}
for first = 1, #members, 1000 do
  local last = math.min(first + 999, #members)
  if redis.call('EXISTS', unpack(members, first, last)) <= last - first then
    for position = first, last do
      if redis.call('EXISTS', members[position]) == 0 then missing[#missing + 1] = members[position] end
    end
  end
end
return {#members, table.concat(members, '\\0'), #missing, table.concat(missing, '\\0')}
"""


class ValkeyPublication(Publication):
    """`Publication` on the certificate Valkey's primary."""

    def __init__(self, link: Link, layout: Layout) -> None:
        self._link = link
        self._layout = layout
        self._publish = link.client.register_script(_PUBLISH)
        self._prune = link.client.register_script(_PRUNE)
        self._survey = link.client.register_script(_SURVEY)

    def live(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The raw values at these keys; absent ones are left out, and so are keys that hold no string."""
        found: dict[str, bytes] = {}
        for chunk in _chunks(keys):
            with self._link.talking() as client:
                values = cast("list[bytes | None]", client.mget(chunk))
            found.update((key, value) for key, value in zip(chunk, values, strict=True) if value is not None)
        return found

    def publish(self, values: Sequence[NewValue]) -> Sequence[int | None]:
        """See the port. Raises Refused for a key that knit itself needs."""
        for key, _, _ in values:
            if self._layout.reserved(key):
                allowed = f"choose one that does not begin with {self._layout.index!r}"
                raise Refused(f"valkey_key {key!r} is reserved: {allowed}")
        keys = [self._layout.index, self._layout.revision, self._layout.revisions, *(key for key, _, _ in values)]
        pairs = [part for _, value, generation in values for part in (value, generation)]
        with self._link.talking():
            answers = self._publish(keys=keys, args=[self._layout.channel, FARTHEST, *pairs])
        return [int(found) if found else None for found in cast("list[bytes]", answers)]

    def survey(self) -> tuple[set[str], set[str]]:
        """See the port; worked out on the server."""
        with self._link.talking():
            reply = self._survey(keys=[self._layout.index], args=[])
        count, members, lost, missing = cast("tuple[int, bytes, int, bytes]", reply)
        return _names(count, members), _names(lost, missing)

    def prune(self, keys: Sequence[str]) -> None:
        """See the port. A name that knit itself needs only leaves the index."""
        if not keys:
            return
        feed = [self._layout.index, self._layout.revision, self._layout.revisions]
        kinds = ["name" if self._layout.reserved(key) else "value" for key in keys]
        with self._link.talking():
            self._prune(keys=[*feed, *keys], args=[self._layout.channel, *kinds])


def _names(count: int, joined: bytes) -> set[str]:
    # An empty text is no name, or one empty name.
    return set(joined.decode(errors="surrogateescape").split("\0")) if count else set()


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
