"""The Lua scripts by which values change, each one transaction. MULTI is not used: its errors repeat whole commands.

A **token** tells what is stored at a key: its generation where the value has a sensible one (one far ahead of the
clock would leave no room above it), else a hash of its bytes, and nothing for nothing. A write names the token that
was read, and is done only while that is still what is there.
"""

from __future__ import annotations

from knit.core.value import FARTHEST

_TOKEN = f"""
local farthest = redis.call('TIME')[1] + {FARTHEST}
local function marked(stored)
  local readable, document = pcall(cjson.decode, stored)
  local mark = readable and type(document) == 'table' and document.knit
  local generation = type(mark) == 'table' and mark.generation
  local sensible = type(generation) == 'number' and generation >= 0 and generation <= farthest
  return sensible and string.format('%.0f', generation)
end
local function token(stored)
  if not stored then return '' end
  if type(stored) ~= 'string' then return '#' end
  return marked(stored) or '#' .. redis.sha1hex(stored)
end
"""

_OURS = """
if redis.call('GET', KEYS[4]) ~= ARGV[2] then
  return redis.error_reply('FOREIGN this Valkey carries another id')
end
"""

# The hint is best effort: a node finds the change at its next poll.
_BUMP = """
local function bump()
  local now = redis.call('TIME')
  local before = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
  local revision = string.format('%.0f', math.max(before + 1, now[1] * 1000000 + now[2]))
  redis.call('SET', KEYS[2], revision)
  return revision
end
local function hint(revision) redis.pcall('PUBLISH', ARGV[1], revision) end
"""

_PUBLISH = """
local answers, changed, refused = {}, {}, false
for place = 5, #KEYS do
  local key, value, expected = KEYS[place], ARGV[place * 2 - 7], ARGV[place * 2 - 6]
  local stored = redis.pcall('GET', key)
  local found = stored == value and expected or token(stored)
  if found == expected then
    local reply = redis.pcall('SET', key, value)
    if reply.err then refused = reply; break end
    redis.call('SADD', KEYS[1], key)
    changed[#changed + 1] = key
    answers[#answers + 1] = '+'
  else
    answers[#answers + 1] = '=' .. found
  end
end
-- What was set before one was refused is published all the same: nothing takes a script back.
if #changed > 0 then
  local revision = bump()
  for _, key in ipairs(changed) do redis.call('ZADD', KEYS[3], revision, key) end
  hint(revision)
end
return refused or answers
"""

PUBLISH = _OURS + _TOKEN + _BUMP + _PUBLISH
"""KEYS: index, revision, revisions, installation, keys. ARGV: channel, our id, then value and token for each key."""

EXCHANGE = (
    _OURS
    + _TOKEN
    + _BUMP
    + """
for place = 5, #KEYS do
  if token(redis.pcall('GET', KEYS[place])) ~= ARGV[place * 2 - 6] then return {} end
end
"""
    + _PUBLISH
)
"""The same for all or none of them; gives nothing where it was none."""

PRUNE = (
    _OURS
    + _TOKEN
    + _BUMP
    + """
local answers = {}
for place = 5, #KEYS do
  local key, expected = KEYS[place], ARGV[place - 2]
  local found = expected ~= 'name' and token(redis.pcall('GET', key))
  local gone = not found or found == '' or found == expected
  if gone then
    if found and found ~= '' then redis.call('DEL', key) end
    redis.call('SREM', KEYS[1], key)
    redis.call('ZREM', KEYS[3], key)
  end
  answers[#answers + 1] = gone and 1 or 0
end
hint(bump())
return answers
"""
)
"""KEYS: as above. ARGV: channel, our id, then a token for each key; `name` only takes a key out of the index."""

LOOK = (
    _TOKEN
    + """
local answers = {}
for place, key in ipairs(KEYS) do
  local stored = redis.pcall('GET', key)
  answers[place * 2 - 1] = token(stored)
  answers[place * 2] = type(stored) == 'string' and stored or ''
end
return answers
"""
)
"""KEYS: any. Gives a token and the bytes for each, no bytes for what is no string."""

# Two texts, names separated by NUL, instead of two arrays: a client reads ten thousand names from one reply in a
# millisecond or two. No text of PostgreSQL can hold a NUL, so names with one are other software's, and are passed over.
# One EXISTS for a thousand names costs the server a third of a thousand calls; only where its count falls short is each
# name asked about.
SURVEY = """
local members, missing = {}, {}
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if not string.find(member, '\\0', 1, true) then members[#members + 1] = member end
end
for first = 1, #members, 1000 do
  local last = math.min(first + 999, #members)
  if redis.call('EXISTS', unpack(members, first, last)) <= last - first then
    for position = first, last do
      if redis.call('EXISTS', members[position]) == 0 then missing[#missing + 1] = members[position] end
    end
  end
end
return {#members, table.concat(members, '\\0'), #missing, table.concat(missing, '\\0'), redis.call('GET', KEYS[2])}
"""
"""KEYS: index, revision."""

CLAIM = """
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]); return 1 end
return found == ARGV[2] and 1 or 0
"""
"""KEYS: installation. ARGV: the id that was read there, our id."""

REHEARSE = (
    _OURS
    + """
redis.call('SET', KEYS[5], '1')
redis.call('DEL', KEYS[5])
local lacking = {}
local function may(command, ...)
  if not redis.acl_check_cmd(command, ...) then lacking[#lacking + 1] = command end
end
if redis.acl_check_cmd then
  local index, revision, revisions, key, staged = KEYS[1], KEYS[2], KEYS[3], KEYS[6], KEYS[7]
  may('GET', key) may('SET', key, '') may('DEL', key) may('TIME') may('GET', revision) may('SET', revision, '')
  may('SADD', index, key) may('SREM', index, key) may('SMEMBERS', index) may('EXISTS', key)
  may('ZADD', revisions, '1', key) may('ZREM', revisions, key) may('PUBLISH', ARGV[1], '1')
  may('HSET', staged, 'privkey', '') may('HGETALL', staged) may('UNLINK', staged)
end
return lacking
"""
)
"""KEYS: index, revision, revisions, installation, probe, key of a certificate, one of staging. ARGV: channel, our id.

Gives the commands that this user lacks.
"""
