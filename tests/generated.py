"""Values as nobody publishes them: damaged, exchanged, cut and put together anew."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from knit.core.digest import pair_digest

PATHS = (
    "/tls/a.pem",
    "/tls/../a",
    "tls/a",
    "/etc/passwd",
    "/tls//./a.key",
    "/",
    "",
    "/tls/\0",
    "/tls/a" * 900,
    "/tls/ä",
)
TEXTS = ("", "\n", "\ud800", "-----BEGIN CERTIFICATE-----\n", "x" * 5000, "\x00", "é", "{name}")


def generated(good: bytes, seed: int, count: int) -> Iterator[bytes]:
    """So many of them, made of a good one; always the same for one seed."""
    chance = random.Random(seed)
    members = json.loads(good)
    for _ in range(count):
        yield chance.choice((_bytes, _members, _paths))(chance, good, dict(members))


def _bytes(chance: random.Random, good: bytes, members: dict[str, object]) -> bytes:
    """Some bytes changed, taken out or put in."""
    del members
    raw = bytearray(good)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(raw))
        raw[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    return bytes(raw[: chance.choice((len(raw), len(raw), chance.randrange(len(raw))))])


def _members(chance: random.Random, good: bytes, members: dict[str, object]) -> bytes:
    """Members that are gone, of another kind, or each other's."""
    del good
    for _ in range(chance.randrange(1, 4)):
        name = chance.choice(list(members) or ["knit"])
        other = chance.choice((None, 5, -1, 2**70, 1.5, [], {}, True, *TEXTS, *members.values()))
        members.pop(name, None) if chance.random() < 0.3 else members.update({name: other})
    return json.dumps(members).encode(errors="surrogatepass")


def _paths(chance: random.Random, good: bytes, members: dict[str, object]) -> bytes:
    """Whole pairs with other bytes and paths, and a hash that fits."""
    del good
    for name in ("cert_path", "key_path"):
        members[name] = chance.choice(PATHS) if chance.random() < 0.7 else members[name]
    for name in ("fullchain", "privkey"):
        if chance.random() < 0.3:
            members[name] = str(members[name])[: chance.randrange(400)] + chance.choice(TEXTS[3:])
    members["sha256"] = pair_digest(*(str(members[name]).encode(errors="replace") for name in ("fullchain", "privkey")))
    return json.dumps(members).encode(errors="surrogatepass")
