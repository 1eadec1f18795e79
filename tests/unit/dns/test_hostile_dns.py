"""Whatever bytes a name server sends, reading them ends in an answer or in one of the errors that are caught."""

from __future__ import annotations

import random
import struct
from contextlib import suppress

import dns.flags
import dns.message
import dns.rrset

from knit.core.model.challenge import Challenge, Record
from knit.dns import query, search, visibility

PACKETS = 4000
NAME = "_acme-challenge.example.org"
RECORD = Record(
    challenge=Challenge(identifier="example.org", value="v", token="t", key_authorization="k"),
    fqdn=NAME,
    zone="example.org",
)


def packets(seed: int) -> list[bytes]:
    """Good answers of several kinds."""
    texts = [
        ("answer", f"{NAME}.", "TXT", '"v"'),
        ("answer", f"{NAME}.", "CNAME", "x.example.net."),
        ("authority", "example.org.", "SOA", "ns1.example.org. h.example.org. 1 2 3 4 5"),
        ("authority", f"{NAME}.", "NS", "ns1.example.net."),
        ("answer", "example.org.", "CAA", '0 issue "ca.example; accounturi=x"'),
    ]
    wires = []
    for count, (section, owner, kind, value) in enumerate(texts):
        message = dns.message.make_response(dns.message.make_query(NAME, "TXT", id=seed + count))
        getattr(message, section).append(dns.rrset.from_text(owner, 60, "IN", kind, value))
        wires.append(message.to_wire())
    return wires


def read(wire: bytes) -> None:
    """All that knit does with an answer: only taking the bytes apart may fail, and only so."""
    try:
        message = dns.message.from_wire(wire)
    except query._BROKEN:
        return
    visibility._judge(message, RECORD, recurse=False)
    visibility._judge(message, RECORD, recurse=True)
    zone = search._cut(message, NAME, "example.org")
    target = search._alias(message, NAME)
    below = search._referral(message, NAME, "example.org")
    for name in filter(None, (zone, target, below)):
        with suppress(query.NoReply):
            query._query(name, "TXT", 0)


def test_broken_packets_are_read_or_caught() -> None:
    dice, good = random.Random(20260301), packets(1)
    for _ in range(PACKETS):
        wire = bytearray(dice.choice(good))
        for _ in range(dice.randint(0, 8)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        read(bytes(wire[: dice.randrange(len(wire))] if dice.random() < 0.1 else wire))


def test_pure_noise_is_read_or_caught() -> None:
    dice = random.Random(7)
    for _ in range(PACKETS):
        noise = dice.randbytes(dice.randrange(200))
        head = struct.pack("!HHHHHH", 1, dns.flags.QR, 1, dice.randrange(3), dice.randrange(3), 0)
        read(head + noise)
