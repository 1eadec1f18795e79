"""What is read from a queue: messages of ours, of their size and shape, about what can be a certificate."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from dramatiq.errors import DecodeError

from knit.queue.intake import LARGEST, LARGEST_ID, Strict, refusal

ENCODED = {
    "queue_name": "renew",
    "actor_name": "renew",
    "args": [7],
    "kwargs": {},
    "options": {},
    "message_id": str(uuid.uuid4()),
    "message_timestamp": 1,
}


def encoded(**other: object) -> bytes:
    return json.dumps({**ENCODED, **other}).encode()


def test_a_message_of_ours_is_read() -> None:
    assert Strict().decode(encoded()) == ENCODED
    largest = encoded(message_id="x" * (LARGEST - len(encoded(message_id=""))))
    assert len(largest) == LARGEST
    Strict().decode(largest)


@pytest.mark.parametrize(
    "data",
    [
        encoded(message_id="x" * LARGEST),
        encoded(options={"eta": "soon"}),
        encoded(options={"eta": float("nan")}),
        encoded(options={"eta": float("inf")}),
        encoded(args={}),
        encoded(more=1),
        b"[" * (LARGEST - 1),
        b"\xff",
        b"[]",
        b"",
    ],
)
def test_whatever_else_it_is_is_one_error_that_quotes_nothing(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        Strict().decode(data)
    assert (caught.value.data, caught.value.error) == (b"", None)


def refused(actor: str, *args: object, **kwargs: object) -> str | None:
    message: Any = SimpleNamespace(actor_name=actor, args=args, kwargs=kwargs)
    return refusal(message)


@pytest.mark.parametrize(
    ("actor", "args"),
    [
        ("reconcile", ()),
        ("reconcile", (3,)),
        ("renew", (0,)),
        ("renew", (LARGEST_ID, 5)),
        ("publish", (None,)),
        ("publish", (None, 1)),
        ("publish", (7, 1)),
        ("poll", ()),
        ("poll", (3,)),
    ],
)
def test_what_our_builders_make_is_taken(actor: str, args: tuple[object, ...]) -> None:
    assert refused(actor, *args) is None


@pytest.mark.parametrize(
    ("actor", "args"),
    [
        ("renew", ()),
        ("renew", (None,)),
        ("renew", (-1,)),
        ("renew", (LARGEST_ID + 1,)),
        ("renew", (True,)),
        ("renew", (7.0,)),
        ("renew", ("7",)),
        ("renew", (7, 1, 1)),
        ("renew", (7, -1)),
        ("reconcile", (1, 2)),
        ("publish", ()),
        ("poll", (1, 2)),
        ("publish", (7, None)),
    ],
)
def test_what_no_actor_takes_is_refused(actor: str, args: tuple[object, ...]) -> None:
    assert refused(actor, *args) == f"arguments that {actor} does not take"


def test_words_of_a_stranger_are_refused_and_shown_in_part() -> None:
    assert refused("renew", 7, more=1) is not None
    assert refused("x" * 1000) == f"unknown actor {'x' * 60}"
