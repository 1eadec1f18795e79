"""What a node reports, written and read: the same comes out, and from a hostile node nothing but a sentence."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core import report
from knit.core.model.certificate import CertId
from knit.core.model.deployed import Deployed, Failure, Step
from knit.core.report import Head
from knit.errors import Refused

AT = datetime(2026, 11, 27, 15, 0, 0, 123_000, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31)).map(  # noqa: DTZ001 -- the zone follows
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=40)
HEX = st.text("0123456789abcdef", min_size=1, max_size=64)
GENERATIONS = st.integers(0, 2**63 - 1)
FAILURES = st.builds(
    Failure,
    step=st.sampled_from(Step),
    error=WORDS,
    output=WORDS,
    at=INSTANTS,
    next_try=st.none() | INSTANTS,
    rolled_back=st.booleans(),
    generation=st.none() | GENERATIONS,
)
DEPLOYED = st.builds(
    Deployed,
    key=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=40),
    place=WORDS,
    name=WORDS,
    cert_id=st.none() | GENERATIONS.map(CertId),
    generation=st.none() | GENERATIONS,
    serial=st.none() | HEX,
    fingerprint=st.none() | HEX,
    not_after=INSTANTS,
    published_at=st.none() | INSTANTS,
    written_at=st.none() | INSTANTS,
    reloaded_at=st.none() | INSTANTS,
    served_at=st.none() | INSTANTS,
    served_on=st.none() | WORDS,
    probed=st.booleans(),
    waits=st.none() | WORDS,
    failure=st.none() | FAILURES,
    orphaned=st.booleans(),
)


def deployed(key: str = "certs:one", **given: Any) -> Deployed:
    facts = {"place": "nginx", "name": "one.example.org", "cert_id": CertId(1), "generation": 7, "serial": "0a"}
    times = dict.fromkeys(("not_after", "published_at", "written_at", "reloaded_at", "served_at"), AT)
    return Deployed(**{**facts, **times, "key": key, "fingerprint": "ab", "probed": True, **given})


def head(**given: Any) -> Head:
    facts: dict[str, Any] = {"name": "web1", "knit": "1.2", "at": AT, "interval": timedelta(minutes=10), "parts": {}}
    return Head(**{**facts, **given})


@given(DEPLOYED)
def test_what_is_reported_is_what_is_read(one: Deployed) -> None:
    assert report.part_from_wire(report.part_to_wire([one]), report.part_of(one.key)) == (one,)


@given(st.dictionaries(st.integers(0, report.PARTS - 1), HEX.map(lambda text: text.rjust(16, "0")[:16])), INSTANTS)
def test_so_is_the_head(parts: dict[int, str], at: datetime) -> None:
    found = head(parts=parts, at=at)
    assert report.head_from_wire(report.head_to_wire(found), "web1") == found


def test_ten_thousand_certificates_fit_and_a_change_of_one_costs_one_part_of_them() -> None:
    parts: dict[int, list[Deployed]] = {}
    for number in range(10_000):
        one = deployed(f"certs:host{number}.example.org", serial=f"{number:032x}", fingerprint=f"{number:064x}")
        parts.setdefault(report.part_of(one.key), []).append(one)
    written = {number: report.part_to_wire(some) for number, some in parts.items()}
    digests = {number: report.digest(raw) for number, raw in written.items()}
    assert len(report.head_to_wire(head(parts=digests))) < report.HEAD_BYTES
    assert max(map(len, written.values())) < 16_000
    assert sum(len(report.part_from_wire(raw, number)) for number, raw in written.items()) == 10_000


def test_long_words_of_a_command_are_cut_and_acts_on_terminals_removed() -> None:
    failure = Failure(
        step=Step.CHECK, error="no\x1b[2J\nway", output="x" * 9999, at=AT, next_try=None, rolled_back=True, generation=7
    )
    one = deployed(failure=failure)
    (found,) = report.part_from_wire(report.part_to_wire([one]), report.part_of(one.key))
    assert found.failure is not None
    assert found.failure.error == "no [2J way"
    assert len(found.failure.output) == report.TEXTS["output"]


def test_members_that_are_not_known_are_passed_over() -> None:
    raw = json.loads(report.head_to_wire(head()))
    assert report.head_from_wire(json.dumps(raw | {"later": [1]}).encode(), "web1") == head()
    (record,) = json.loads(zlib.decompress(report.part_to_wire([deployed()])))
    packed = zlib.compress(json.dumps([record | {"later": {}}]).encode())
    assert report.part_from_wire(packed, report.part_of("certs:one")) == (deployed(),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"knit_report": 2}, "of version 2; this knit reads version 1"),
        ({"knit_report": True}, "no knit_report"),
        ({"name": "web2"}, "another name"),
        ({"interval": 0}, "no interval from 1 to 600"),
        ({"interval": 601}, "no interval from 1 to 600"),
        ({"interval": 6.5}, "no interval"),
        ({"at": "yesterday"}, "no at as RFC 3339"),
        ({"at": "2026-11-27T15:00:00"}, "no instant"),
        ({"knit": "x" * 101}, "no knit of at most 100 characters"),
        ({"parts": []}, "no JSON object"),
        ({"parts": {"256": "0" * 16}}, "a part that there cannot be"),
        ({"parts": {"-1": "0" * 16}}, "a part that there cannot be"),
        ({"parts": {"1": "short"}}, "a part without a digest"),
    ],
)
def test_a_head_that_is_none_is_refused_with_a_sentence(change: dict[str, Any], says: str) -> None:
    raw = json.loads(report.head_to_wire(head())) | change
    with pytest.raises(Refused, match=says):
        report.head_from_wire(json.dumps(raw).encode(), "web1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": ""}, "a key that no certificate can have"),
        ({"key": "a\u202eb"}, "a key that no certificate can have"),
        ({"key": "x" * 1025}, "no key of at most 1024"),
        ({"key": "certs:two"}, "a part that it does not belong to"),
        ({"serial": "0A"}, "no hexadecimal number"),
        ({"generation": 2**63}, "no generation"),
        ({"generation": "7"}, "no generation"),
        ({"probed": 1}, "neither true nor false"),
        ({"not_after": None}, "no not_after"),
        ({"not_after": "9999-12-31T23:59:59Z"}, "no instant"),
        ({"failure": "x"}, "no JSON object"),
        ({"failure": {"step": "dance"}}, "no step of a deployment"),
        ({"failure": {"step": "check", "error": "no"}}, "no at"),
    ],
)
def test_a_certificate_that_is_none_is_refused_with_a_sentence(change: dict[str, Any], says: str) -> None:
    (record,) = json.loads(zlib.decompress(report.part_to_wire([deployed()])))
    packed = zlib.compress(json.dumps([record | change]).encode())
    with pytest.raises(Refused, match=says):
        report.part_from_wire(packed, report.part_of("certs:one"))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"x", zlib.compress(b"x"), zlib.compress(b"{}"), zlib.compress(b"[1]"), zlib.compress(b"[")[:-2],
        zlib.compress(b"[" * 100_000), zlib.compress(b"\xff"), zlib.compress(b" " * (report.OPENED_BYTES + 1)),
        b"\0" * (report.PART_BYTES + 1), zlib.compress(json.dumps([{}] * 501).encode()),
    ],
)  # fmt: skip
def test_bytes_that_are_no_part_are_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        report.part_from_wire(raw, 0)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_more_than_that(raw: bytes) -> None:
    for read in (
        lambda: report.head_from_wire(raw, "web1"),
        lambda: report.part_from_wire(raw, 0),
        lambda: report.part_from_wire(zlib.compress(raw), 0),
    ):
        with pytest.raises(Refused):
            read()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(report.TEXTS)), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted({*report.TEXTS, "failure", "generation", "cert_id", "served", "orphaned"})), JSON)
def test_whatever_a_member_is_the_answer_is_a_certificate_or_a_sentence(name: str, found: object) -> None:
    (record,) = json.loads(zlib.decompress(report.part_to_wire([deployed()])))
    packed = zlib.compress(json.dumps([record | {name: found}]).encode())
    try:
        (read,) = report.part_from_wire(packed, report.part_of("certs:one"))
    except Refused:
        return
    assert replace(read, key="certs:one").key == "certs:one"


def test_the_same_certificate_twice_is_refused() -> None:
    with pytest.raises(Refused, match="twice"):
        report.part_from_wire(report.part_to_wire([deployed(), deployed()]), report.part_of("certs:one"))


def test_a_part_has_room_for_so_many_and_no_more() -> None:
    with pytest.raises(Refused, match="room for 500"):
        report.part_to_wire([deployed()] * 501)


@pytest.mark.parametrize("name", ["", "-web", "web 1", "a/b", "web*", "x" * 255, "web1\n", "wéb"])
def test_what_is_no_name_of_a_node(name: str) -> None:
    assert not report.valid_name(name)


def test_a_host_name_is_one() -> None:
    assert report.valid_name("web1.shop_2.example-x.org")
