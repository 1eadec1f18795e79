"""What is believed of a CA's answers, and what is not."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.issuers.acme.hosts import Garbled, Hosts
from knit.issuers.acme.origin import Origin
from knit.issuers.acme.transport import Reply
from knit.issuers.acme.wire import MOST_NAMES, Authorization, Directory, Order, links

CA = Hosts(Origin.of("https://ca.example/dir"))

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("https://ca.example/x"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "status",
                    "identifiers",
                    "type",
                    "value",
                    "authorizations",
                    "finalize",
                    "challenges",
                    "url",
                    "token",
                    "meta",
                ]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


def reply(document: object, **headers: str) -> Reply:
    return Reply(200, headers, json.dumps(document).encode())


@given(ANYTHING)
def test_any_json_is_understood_or_called_garbled(document: object) -> None:
    with suppress(Garbled):
        Order.from_reply(reply(document), CA, "https://ca.example/order/1")
    with suppress(Garbled):
        Authorization.from_reply(reply(document), CA, "https://ca.example/authz/1")
    with suppress(Garbled):
        Directory.from_reply(reply(document), CA)


@given(st.binary(max_size=200).filter(lambda body: b"status" not in body))
def test_any_bytes_are_called_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        Order.from_reply(Reply(200, {}, body), CA, "https://ca.example/order/1")


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example/x",
        "https://ca.example:8443/x",
        "https://ca.example.evil.example/x",
        "https://ca.example@evil.example/x",
        "https://evil.example/https://ca.example/",
        "https://ca.example/a b",
        'https://ca.example/a"b',
        "https://ca.example/\r\nX: y",
        "https://ca.example/ü",
        "https://[::1",
        "//ca.example/x",
        "",
    ],
)
def test_only_plain_https_urls_at_the_same_host_and_port_are_followed(url: str) -> None:
    assert not CA.holds(url)


@pytest.mark.parametrize("url", ["https://ca.example/x?y=1", "https://ca.example:443/x", "https://CA.example/x"])
def test_the_same_host_may_be_written_in_several_ways(url: str) -> None:
    assert CA.holds(url)


def test_an_expired_authorization_and_unknown_challenges_are_understood() -> None:
    document = {
        "status": "expired",
        "identifier": {"type": "dns", "value": "Knit.Example"},
        "wildcard": True,
        "challenges": [{"type": "dns-persist-01", "url": "https://ca.example/c/1", "novel": [1]}],
    }
    found = Authorization.from_reply(reply(document), CA, "https://ca.example/authz/1")
    assert (found.status, found.subject, found.challenge) == ("expired", "*.knit.example", None)


def test_alternate_links_are_told_from_others() -> None:
    header = '<https://ca.example/dir>;rel="index", <https://ca.example/c/2>; title="x"; rel="alternate"'
    assert links(Reply(200, {"link": header}, b""), "alternate", CA) == ["https://ca.example/c/2"]
    assert links(Reply(200, {"link": '<https://evil.example/c/2>;rel="alternate"'}, b""), "alternate", CA) == []


def test_no_more_proofs_are_asked_for_than_an_order_can_have_names() -> None:
    urls = [f"https://ca.example/authz/{number}" for number in range(MOST_NAMES + 1)]
    for count, taken in ((MOST_NAMES, True), (MOST_NAMES + 1, False)):
        document = {"status": "pending", "authorizations": urls[:count]}
        order = Order.from_reply(reply(document), CA, "https://ca.example/order/1")
        if taken:
            assert len(order.authorizations()) == count
        else:
            with pytest.raises(Garbled, match="more than"):
                order.authorizations()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("2026-12-04T05:06:07Z", datetime(2026, 12, 4, 5, 6, 7, tzinfo=UTC)),
        ("2026-12-04T05:06:07.123456789+01:00", datetime(2026, 12, 4, 4, 6, 7, 123456, tzinfo=UTC)),
        ("2026-12-04T05:06:07", None),
        ("soon", None),
        ("99999-01-01T00:00:00Z", None),
        (7, None),
        (None, None),
        ([], None),
    ],
)
def test_an_order_runs_out_when_it_says_so_in_a_way_that_can_be_read(said: object, found: datetime | None) -> None:
    document = {"status": "pending", "expires": said}
    assert Order.from_reply(reply(document), CA, "https://ca.example/order/1").expires == found
