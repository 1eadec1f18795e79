"""What is taken from a queue: messages that knit's own actors can read, and nothing else, however it got there.

A queue is shared, and may hold anything. What cannot be one of our messages is dropped at once with one line.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import dramatiq
from dramatiq.encoder import JSONEncoder
from dramatiq.errors import DecodeError

log = logging.getLogger(__name__)

LARGEST = 4096
"""Bytes of a message. Ours have some 300."""

LARGEST_ID = 2**63 - 1
SHOWN = 60

SIEVE = b"""
-- knit: what cannot be a message of ours never leaves the server, so nobody has to hold it in memory. It is dropped
-- before the fetch, and the fetch then gives what there is to say about it instead of messages.
if ARGV[1] == "fetch" then
    local function sound(id, body)
        if not body or string.find(body, "[\\128-\\255]") then
            return false
        end
        local parsed, message = pcall(cjson.decode, body)
        return parsed and type(message) == "table" and type(message.options) == "table"
            and message.options.redis_message_id == id
    end
    local queue = KEYS[1] .. ":" .. ARGV[3]
    local dropped = {}
    for _, id in ipairs(redis.call("lrange", queue, 0, ARGV[9] - 1)) do
        local size = redis.call("hstrlen", queue .. ".msgs", id)
        if size > LARGEST or not sound(id, redis.call("hget", queue .. ".msgs", id)) then
            redis.call("lrem", queue, 1, id)
            redis.call("hdel", queue .. ".msgs", id)
            table.insert(dropped, "!" .. size)
        end
    end
    if next(dropped) then
        return dropped
    end
end
""".replace(b"LARGEST", str(LARGEST).encode())
"""Comes before Dramatiq's own script."""


class Strict(JSONEncoder):
    """Reads only what has the size and shape of a message of ours; its errors quote nothing."""

    def decode(self, data: bytes) -> dict[str, Any]:
        """Raises DecodeError."""
        try:
            found = json.loads(data) if len(data) <= LARGEST else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not _shaped(found):
            raise DecodeError("not a message of knit's", b"", None)  # type: ignore[no-untyped-call]
        return found


def dropped(queue: str, size: int | None, reason: str) -> None:
    """Log that a message was dropped, and why."""
    log.warning("message dropped", extra={"queue": queue, "bytes": size, "reason": reason})


def refusal(message: dramatiq.MessageProxy) -> str | None:
    """Why no actor of ours can do anything with this message, if none can."""
    fewest = {"reconcile": 0, "renew": 1, "publish": 1, "poll": 0, "revoke": 0}.get(message.actor_name)
    if fewest is None:
        return f"unknown actor {message.actor_name[:SHOWN]}"
    args = message.args[1:] if message.actor_name == "publish" and message.args[:1] == (None,) else message.args
    fits = fewest <= len(message.args) <= fewest + 1 and all(map(_number, args)) and not message.kwargs
    return None if fits else f"arguments that {message.actor_name} does not take"


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_ID


def _shaped(found: dict[str, Any]) -> bool:
    kinds = {
        "queue_name": str,
        "actor_name": str,
        "args": list,
        "kwargs": dict,
        "options": dict,
        "message_id": str,
        "message_timestamp": int,
    }
    if found.keys() != kinds.keys() or not all(isinstance(found[name], kind) for name, kind in kinds.items()):
        return False
    eta = found["options"].get("eta", 0)
    return isinstance(eta, int | float) and math.isfinite(eta)
