"""No part of a URL's user information is ever printed, whatever it holds and whatever is wrong with the URL."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from knit.app.queue import open_queue
from knit.core import address
from knit.errors import KnitError
from knit.log import Logfmt
from knit.queue import messages
from knit.settings.environment import Environment
from knit.settings.variables import SETTINGS
from knit.store.database import Database
from knit.store.dsn import parse
from knit.valkey.connect import connect
from rig.ports import free_port

CANARIES = ("us3rAA", "s3cr3tBB", "tailCC", "restDD")
SPECIAL = "@:/?#[]%!$&'()*+,;= \"<>\\^`{|}~ü\n"
PIECES = st.lists(st.sampled_from(CANARIES), min_size=1, max_size=4)
NAMES = {"postgres": "KNIT_DB_URL", "redis": "KNIT_VALKEY_URL", "amqp": "KNIT_QUEUE_URL"}


@st.composite
def credentials(draw: st.DrawFn) -> str:
    """Canaries with odd characters between them, escaped or not."""
    mixed = "".join(draw(st.sampled_from(["", *SPECIAL])) + piece for piece in draw(PIECES))
    return quote(mixed, safe="") if draw(st.booleans()) else mixed


@st.composite
def urls(draw: st.DrawFn, scheme: str) -> str:
    host = draw(st.sampled_from([f"127.0.0.1:{PORT}", "127.0.0.1:x", f"127.0.0.1:{PORT},127.0.0.1:{PORT}", "[::1", ""]))
    tail = draw(st.sampled_from(["/0", "/knit", "", "/?dial_timeout=x", "/0?connect_timeout=1"]))
    return f"{scheme}://{draw(credentials())}:{draw(credentials())}@{host}{tail}"


PORT = free_port()


def said(work: Any) -> str:
    """What knit's own errors say; any other error would end in a traceback."""
    try:
        work()
    except KnitError as error:
        return f"{error} {error!r}"
    return ""


def visit(name: str, url: str) -> str:
    """Read it as a setting, then try to use it."""
    said_first = said(lambda: SETTINGS[name].read(Environment({name: url})))
    return said_first + {"KNIT_DB_URL": _postgres, "KNIT_VALKEY_URL": _valkey, "KNIT_QUEUE_URL": _queue}[name](url)


def _postgres(url: str) -> str:
    shown: list[str] = []
    return said(lambda: Database.open(url).close()) + said(lambda: shown.append(repr(parse(url)))) + "".join(shown)


def _valkey(url: str) -> str:
    def ping() -> None:
        link = connect(url, name="test", retries=0)
        with link.talking() as client:
            client.ping()

    return said(ping)


def _queue(url: str) -> str:
    return said(lambda: open_queue(url).send(messages.publish()))


@pytest.mark.parametrize("scheme", list(NAMES))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_error_holds_a_part_of_the_credentials(
    scheme: str, data: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.clear()
    url = data.draw(urls(scheme))
    text = visit(NAMES[scheme], url)
    logged = "\n".join(Logfmt().format(record) for record in caplog.records if record.levelno >= logging.INFO)
    printed = "".join(capsys.readouterr())
    for canary in CANARIES:
        assert canary not in text + logged + printed


@given(credentials(), st.sampled_from(["postgres", "redis", "amqp"]))
@example("us3rAA@tailCC", "postgres")
def test_no_log_line_holds_credentials_of_a_url(userinfo: str, scheme: str) -> None:
    text = f"cannot reach {scheme}://{''.join(userinfo.split())}@db.example/x now"
    line = Logfmt().format(logging.LogRecord("x", logging.INFO, "x", 1, text, None, None))
    if '"' not in userinfo and "<" not in userinfo and ">" not in userinfo and "'" not in userinfo:
        assert not [canary for canary in CANARIES if canary in line]


@pytest.mark.parametrize(
    ("url", "user", "password", "hosts"),
    [
        ("postgres://u:s3cr3tAA@tailZZ@127.0.0.1/db", "u", "s3cr3tAA@tailZZ", (("127.0.0.1", ""),)),
        ("postgres://u:a:b@h:1/db", "u", "a:b", (("h", "1"),)),
        ("postgres://u%40x:p%2Fq@[::1]:5/db", "u@x", "p/q", (("::1", "5"),)),
        ("postgres://h1:5432,h2:5433/db", None, None, (("h1", "5432"), ("h2", "5433"))),
        ("redis://:only@h", "", "only", (("h", ""),)),
        ("amqp://u+v:a+b@h/%2F", "u+v", "a+b", (("h", ""),)),
    ],
)
def test_a_url_is_read_as_go_reads_it(url: str, user: str | None, password: str | None, hosts: object) -> None:
    found = address.parse(url)
    assert (found.user, found.password, found.hosts) == (user, password, hosts)
    assert password is None or password not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@zqzq/w@h/db",
        "postgres://u:p@zqzq?w@h/db",
        "postgres://u:p@zqzq#w@h/db",
        "postgres://u:p@zqzq?w=x@h/db",
        "postgres://u:p@zqzq/w#x@h/db",
        "redis://:p@zqzq/w@h/0",
        "amqp://u:p@zqzq,w/x@h:5672",
    ],
)
def test_no_piece_of_a_password_is_taken_for_a_host(url: str) -> None:
    with pytest.raises(ValueError, match="must be escaped"):
        address.parse(url)
    assert "zqzq" not in visit(NAMES[url.partition(":")[0]], url)


def test_an_at_sign_in_the_words_of_a_query_is_at_home() -> None:
    assert address.parse("postgres://u:p@h/db?application_name=me@here").hosts == (("h", ""),)


@pytest.mark.parametrize("url", ["postgres://u:a#b@h/db", "postgres://u:a?b@h", "redis://u:a/b@h", "redis://u:a b@h"])
def test_what_go_refuses_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"port|character|URL"):
        address.parse(url)
