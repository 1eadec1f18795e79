"""Which packet is the answer to a question: anybody can send one to an open socket."""

from __future__ import annotations

import pytest

from knit.dns import query

ASKED = query._query("_acme-challenge.a.example", "TXT", 0)
PLAIN = ASKED[: query._ADDITIONAL] + b"\0\0" + ASKED[query._HEADER : -query._OPT]
OTHER = query._query("_acme-challenge.b.example", "TXT", 0)
A = query._query("_acme-challenge.a.example", "A", 0)


def answer(asked: bytes, *, to: bytes | None = None, response: int = 0x84, questions: int = 1) -> bytes:
    """With this question, to one of this number."""
    number = (to or asked)[:2]
    counts = bytes([0, questions, 0, 0, 0, 0, 0, 0])
    return number + bytes([response, 0]) + counts + (asked[query._HEADER :] if questions else b"")


@pytest.mark.parametrize("asked", [ASKED, PLAIN], ids=["with EDNS", "without"])
def test_an_answer_has_our_number_and_our_question_or_none(asked: bytes) -> None:
    assert query._answers(asked, answer(asked))
    assert query._answers(asked, answer(asked)[:2] + answer(asked)[2:].upper())
    assert query._answers(asked, answer(asked) + b"records")
    assert query._answers(asked, answer(asked, questions=0))


@pytest.mark.parametrize("asked", [ASKED, PLAIN], ids=["with EDNS", "without"])
def test_what_is_no_answer_of_this_question_is_passed_over(asked: bytes) -> None:
    elsewhere = bytes([asked[0] ^ 1, asked[1]])
    assert not query._answers(asked, answer(asked, to=elsewhere))
    assert not query._answers(asked, answer(asked, to=elsewhere, questions=0))
    assert not query._answers(asked, answer(asked, response=0x01)), "a question"
    for other in (OTHER, A):
        assert not query._answers(asked, answer(other, to=asked))
    for end in range(query._HEADER):
        assert not query._answers(asked, answer(asked)[:end])
        assert not query._answers(asked, answer(asked, questions=0)[:end])
