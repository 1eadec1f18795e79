from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle, CertId
from knit.core.value import MAX_BYTES, MAX_GENERATION, Mark, Value
from knit.errors import BundleMismatch

SECRET = "c2VjcmV0IGtleSBieXRlcw"
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
MARK = Mark(cert_id=CertId(7), generation=12, issued_at=WHEN, directory="https://ca.test/dir")
VALUE = Value.of(
    Bundle(fullchain=b"<CERT>&\n", privkey=SECRET.encode()),
    not_after=WHEN,
    cert_path="/etc/ssl/a.pem",
    key_path="/etc/ssl/a.key",
    mark=MARK,
)
GO = (
    b'{"fullchain":"\\u003cCERT\\u003e\\u0026\\n","privkey":"c2VjcmV0IGtleSBieXRlcw",'
    b'"not_after":"2026-05-04T03:02:01Z",'
    b'"sha256":"9d954178f98b5d43f744f019a895024f776c305bdfdab728e4708a6aaf84843a",'
    b'"cert_path":"/etc/ssl/a.pem","key_path":"/etc/ssl/a.key"'
)


def document(**changes: object) -> dict[str, object]:
    return {**json.loads(VALUE.to_wire()), **changes}


def wire(**changes: object) -> bytes:
    return json.dumps(document(**changes)).encode()


def test_the_original_members_are_byte_for_byte_go_s_and_ours_is_last() -> None:
    assert dataclasses.replace(VALUE, mark=None).to_wire() == GO + b"}"
    ours = (
        b',"knit":{"v":1,"id":7,"generation":12,"issued_at":"2026-05-04T03:02:01.000000Z",'
        b'"directory":"https://ca.test/dir"}}'
    )
    assert VALUE.to_wire() == GO + ours


def test_line_separators_are_escaped_as_go_escapes_them() -> None:
    raw = dataclasses.replace(VALUE, cert_path="/\u2028\u2029\x7fé\b\f\x00").to_wire()
    assert rb'"cert_path":"/\u2028\u2029' + "\x7fé".encode() + rb'\b\f\u0000"' in raw


EARLIEST = WHEN.replace(tzinfo=None, year=1970)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
exact = st.datetimes(timezones=st.just(UTC), min_value=EARLIEST)
times = exact.map(lambda when: when.replace(microsecond=0))
marks = st.builds(
    Mark,
    cert_id=st.integers(0, MAX_GENERATION).map(CertId),
    generation=st.integers(0, MAX_GENERATION),
    issued_at=exact,
    directory=st.none() | text,
)


@given(chain=text, key=text, when=times, cert_path=text, key_path=text, mark=st.none() | marks)
def test_what_is_written_is_read_back(
    chain: str, key: str, when: datetime, cert_path: str, key_path: str, mark: Mark | None
) -> None:
    value = Value(
        fullchain=chain.encode(),
        privkey=key.encode(),
        not_after=when,
        sha256=pair_digest(chain.encode(), key.encode()),
        cert_path=cert_path,
        key_path=key_path,
        mark=mark,
    )
    again = Value.from_wire(value.to_wire())
    assert again == value
    again.verify()


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises(BundleMismatch):
        Value.from_wire(raw)


@given(st.data())
def test_any_damaged_value_is_refused_or_still_a_value(data: st.DataObject) -> None:
    raw = bytearray(VALUE.to_wire())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        value = Value.from_wire(bytes(raw))
    except BundleMismatch as error:
        assert SECRET not in str(error)
        assert error.__cause__ is None
    else:
        assert isinstance(value, Value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(st.characters(codec="ascii")).map(lambda name: f"x-{name}"), json_values, max_size=4))
def test_members_that_are_not_known_are_passed_over(extra: dict[str, object]) -> None:
    raw = json.dumps({**document(), **extra}, ensure_ascii=True).encode()
    try:
        assert Value.from_wire(raw) == VALUE
    except BundleMismatch as error:
        assert "nested" in str(error)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{\x00}\x00", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 50_000, "not valid JSON"),
        (b"x" * (MAX_BYTES + 1), "bytes, more than"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":{"b":1,"b":1}}', "twice"),
        (wire(x=[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]), "nested deeper"),
        (wire(fullchain=None), "fullchain"),
        (wire(privkey=5), "privkey"),
        (wire(cert_path=["/a"]), "cert_path"),
        (wire(key_path="\ud800"), "key_path"),
        (wire(sha256="A" * 64), "sha256"),
        (wire(sha256="0" * 63), "sha256"),
        (wire(not_after="tomorrow"), "not_after"),
        (wire(not_after="2026-05-04"), "not_after"),
        (wire(not_after="2026-05-04T03:02:01"), "not_after"),
        (wire(not_after="2026-13-04T03:02:01Z"), "not_after"),
        (wire(not_after="0001-01-01T00:00:00+23:00"), "not_after"),
        (wire(knit=[]), "knit"),
        (wire(knit={}), "knit.v"),
        (wire(knit={"v": 1, "id": 1, "generation": True, "issued_at": "2026-05-04T03:02:01Z"}), "knit.generation"),
        (wire(knit={"v": 1, "id": 1, "generation": 2**53, "issued_at": "2026-05-04T03:02:01Z"}), "knit.generation"),
        (wire(knit={"v": 1, "id": 1, "generation": -1, "issued_at": "2026-05-04T03:02:01Z"}), "knit.generation"),
        (wire(knit={"v": 1, "id": 1.0, "generation": 1, "issued_at": "2026-05-04T03:02:01Z"}), "knit.id"),
        (wire(knit={"v": 1, "id": 1, "generation": 1, "issued_at": "now"}), "issued_at"),
    ],
)
def test_a_bad_value_is_refused_with_its_reason(raw: bytes, why: str) -> None:
    with pytest.raises(BundleMismatch, match=why) as caught:
        Value.from_wire(raw)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_later_format_version_is_read_by_what_it_shares_with_ours() -> None:
    mark = {
        "v": 2,
        "id": 7,
        "generation": 12,
        "issued_at": "2026-05-04T03:02:01Z",
        "directory": "https://ca.test/dir",
        "sig": {"kid": 1},
    }
    assert Value.from_wire(wire(knit=mark)) == VALUE


def test_times_are_read_in_any_zone_and_written_in_utc() -> None:
    value = Value.from_wire(wire(not_after="2026-05-04T05:02:01.25+02:00"))
    assert value.not_after == WHEN + timedelta(milliseconds=250)
    zoned = dataclasses.replace(VALUE, not_after=WHEN.astimezone(timezone(timedelta(hours=-9))))
    assert zoned.to_wire() == VALUE.to_wire()


def test_the_hash_is_checked_by_verify_alone() -> None:
    value = Value.from_wire(wire(sha256="0" * 64))
    with pytest.raises(BundleMismatch, match="sha256"):
        value.verify()


def test_the_key_does_not_show_in_repr() -> None:
    assert SECRET not in repr(VALUE)


def test_a_value_that_nodes_would_refuse_for_its_size_is_not_written() -> None:
    with pytest.raises(BundleMismatch, match="more than"):
        dataclasses.replace(VALUE, fullchain=b"x" * MAX_BYTES).to_wire()


def test_bytes_that_are_not_text_are_not_written_and_not_quoted() -> None:
    with pytest.raises(BundleMismatch) as caught:
        dataclasses.replace(VALUE, privkey=b"\xff" + SECRET.encode()).to_wire()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
