"""What a node remembers of ten thousand pairs, packed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from knit.core.model.certificate import CertId
from knit.core.outputs import files_at
from knit.core.placement import Installed
from knit.node.records import Records, pack, unpack

FIRST = Installed(
    sha256="e0a5f4bef2c1c34e9518130fe688ed2f23c75b14ee050a4334554f993ba64181",
    files=files_at("/tls/größe.key", "/tls/größe.crt"),
    not_before=datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
)


@pytest.mark.parametrize(
    "record",
    [FIRST, replace(FIRST, cert_id=CertId(0), generation=0), replace(FIRST, cert_id=CertId(7), generation=2**53 - 1)],
)
def test_a_record_comes_back_as_it_went_in(record: Installed) -> None:
    assert unpack(pack(record)) == record


def test_records_are_a_dictionary_that_tells_paths_cheaply() -> None:
    records = Records()
    records["a"] = FIRST
    records.update({"b": replace(FIRST, files=files_at("/b.key", "/b.crt"))})
    assert dict(records) == {"a": FIRST, "b": replace(FIRST, files=files_at("/b.key", "/b.crt"))}
    assert records.paths("b") == ("/b.key", "/b.crt")
    del records["a"]
    assert list(records) == ["b"]
    assert records.get("a") is None


@pytest.mark.parametrize(
    "record",
    [
        replace(FIRST, sha256="no digits"),
        replace(FIRST, generation=2**64),
        replace(FIRST, files=files_at("/a", "/\ud800")),
    ],
)
def test_what_is_no_record_of_ours_is_a_value_error(record: Installed) -> None:
    with pytest.raises(ValueError, match=r"number|non-hexadecimal|surrogates"):
        pack(record)
