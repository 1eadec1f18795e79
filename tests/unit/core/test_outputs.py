"""What a place makes of a certificate: contents, paths, rights, and when it is another one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, FileSpec, Layout, Place
from knit.core.outputs import ORDINARY, Making, Recipe, content_of, file_name, flip_folder, pair_in
from knit.core.placement import Installed, Offer
from knit.core.value import Value
from knit.errors import Refused

LEAF, ROOT = (
    f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode() for body in ("TEVBRg==", "Uk9PVA==")
)
KEY = b"-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n"
BUNDLE = Bundle(fullchain=LEAF + ROOT, privkey=KEY)
DAY = datetime(2026, 5, 1, tzinfo=UTC)


def value(fullchain: bytes = LEAF + ROOT, privkey: bytes = KEY) -> Value:
    return Value(
        fullchain=fullchain,
        privkey=privkey,
        not_after=DAY,
        sha256=pair_digest(fullchain, privkey),
        cert_path="/tls/own.crt",
        key_path="/tls/own.key",
    )


def recipe(*specs: FileSpec, makings: tuple[Making, ...] | None = None, layout: Layout = Layout.PAIR) -> Recipe:
    return Recipe(place=Place(name="web", files=specs, layout=layout), makings=makings or (Making(),) * len(specs))


def spec(content: Content, path: str = "/tls/{name}.pem", **more: object) -> FileSpec:
    return FileSpec(content=content, path=path, **more)  # type: ignore[arg-type]


def offer(made: Recipe, of: Value | None = None, known: Installed | None = None, name: str | None = "a.test") -> Offer:
    return Offer.of("k", of or value(), made, known=known, name=lambda: name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (Content.FULLCHAIN, LEAF + ROOT),
        (Content.CERT, LEAF),
        (Content.CHAIN, ROOT),
        (Content.PRIVKEY, KEY),
        (Content.COMBINED, KEY + LEAF + ROOT),
    ],
)
@pytest.mark.parametrize("blank", [b"", b"\n", b"\r\n \n"], ids=["none", "one", "more"])
def test_each_format_holds_what_its_name_says(content: Content, expected: bytes, blank: bytes) -> None:
    bundle = Bundle(
        fullchain=LEAF + blank + ROOT if content in {Content.CERT, Content.CHAIN} else LEAF + ROOT, privkey=KEY
    )
    assert content_of(content, bundle) == expected


def test_a_key_without_a_last_line_break_is_still_a_block_of_its_own() -> None:
    assert content_of(Content.COMBINED, Bundle(fullchain=LEAF, privkey=KEY.rstrip())) == KEY + LEAF


def test_a_chain_that_would_be_an_empty_file_is_refused() -> None:
    with pytest.raises(Refused, match="without a chain"):
        content_of(Content.CHAIN, Bundle(fullchain=LEAF, privkey=KEY))


def test_files_with_the_key_come_first_and_are_for_their_owner_unless_the_place_says_more() -> None:
    made = recipe(
        spec(Content.FULLCHAIN, "/tls/{name}.crt"),
        spec(Content.PRIVKEY, "/tls/{name}.key", mode=0o640),
        spec(Content.COMBINED, "/tls/{name}.pem"),
        makings=(Making(), Making(owner=5, group=7), Making()),
    )
    outputs = offer(made, name="*.a.test").outputs
    assert [(one.path, one.mode, one.owner, one.group, one.fixed) for one in outputs] == [
        ("/tls/_wildcard.a.test.key", 0o640, 5, 7, True),
        ("/tls/_wildcard.a.test.pem", 0o600, None, None, False),
        ("/tls/_wildcard.a.test.crt", 0o644, None, None, False),
    ]


@pytest.mark.parametrize(
    "name", [None, "", "..", "a/b", "a b", "*", "*.*.a", "-a.test", "a..b", "a\0b", "ä.test", "a" * 254]
)
def test_what_is_no_host_name_stands_in_no_path(name: str | None) -> None:
    with pytest.raises(Refused, match="cannot be part"):
        file_name(name)


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["*", ".", "..", "/", "a", "-", "_", "\n"]), max_size=6).map("".join)
)
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        shown = file_name(name)
    except Refused:
        return
    assert "/" not in shown
    assert shown.strip(".") == shown
    assert shown.isascii()


@pytest.mark.parametrize(
    "path", ["/tls/{name}/../../x.pem", "tls/{name}", "/etc/cron.d/{name}", "/tls/.knit-x/{name}.pem"]
)
def test_a_place_has_no_more_rights_than_a_value(path: str) -> None:
    with pytest.raises(Refused):
        offer(recipe(spec(Content.FULLCHAIN, path)))


def test_a_certificate_without_a_name_has_no_files_where_its_name_is_in_their_path() -> None:
    for name in (None, ""):
        with pytest.raises(Refused, match="cannot be part"):
            offer(recipe(spec(Content.FULLCHAIN)), name=name)


def test_two_files_in_one_path_are_refused() -> None:
    with pytest.raises(Refused, match="the same file"):
        offer(recipe(spec(Content.FULLCHAIN), spec(Content.PRIVKEY)))


def test_a_place_without_a_key_file_is_a_place() -> None:
    only = offer(recipe(spec(Content.FULLCHAIN)))
    assert [one.mode for one in only.outputs] == [0o644]
    assert only.pair_in([LEAF]) is None


@pytest.mark.parametrize(
    ("kinds", "contents"),
    [
        ((Content.PRIVKEY, Content.FULLCHAIN), (KEY, LEAF + ROOT)),
        ((Content.COMBINED, Content.CHAIN), (KEY + LEAF + ROOT, ROOT)),
        ((Content.PRIVKEY, Content.CERT, Content.CHAIN), (KEY, LEAF, ROOT)),
    ],
)
def test_a_pair_is_found_in_whatever_holds_both_halves(kinds: tuple[Content, ...], contents: tuple[bytes, ...]) -> None:
    assert pair_in(kinds, contents) == BUNDLE


def test_a_value_s_own_paths_need_nothing_that_earlier_nodes_do_not_remember() -> None:
    ordinary = offer(ORDINARY)
    assert ordinary.made_of is None
    assert ordinary.sha256 == pair_digest(LEAF + ROOT, KEY)
    assert ordinary.paths == ("/tls/own.key", "/tls/own.crt")


BASE = spec(Content.PKCS12, "/tls/{name}/store", password_file="/pw")
SECRET = Making(password="one")


@pytest.mark.parametrize(
    "other",
    [
        recipe(BASE, makings=(replace(SECRET, password="two"),)),
        recipe(BASE, makings=(replace(SECRET, group=5),)),
        recipe(BASE, makings=(replace(SECRET, owner=5),)),
        recipe(replace(BASE, mode=0o640), makings=(SECRET,)),
        recipe(replace(BASE, content=Content.JKS), makings=(SECRET,)),
        recipe(replace(BASE, path="/tls/{name}/p12"), makings=(SECRET,)),
        recipe(BASE, makings=(SECRET,), layout=Layout.FLIP),
    ],
)
def test_what_was_made_of_the_same_is_installed_and_of_anything_else_is_not(other: Recipe) -> None:
    made = recipe(BASE, makings=(SECRET,))
    first = offer(made).sealed([b"store with one salt"])
    known = Installed(sha256=first.sha256, files=first.files, not_before=DAY, not_after=DAY, made_of=first.made_of)
    assert offer(made, known=known).is_installed(known)
    assert not offer(other, known=known).is_installed(known)
    assert not offer(made, value(privkey=KEY + b"\n"), known=known).is_installed(known)
    assert not offer(made).equals([b"store with one salt"])


def test_nobody_is_asked_for_the_name_of_what_is_installed() -> None:
    made = recipe(spec(Content.FULLCHAIN))
    first = offer(made)
    known = Installed(sha256=first.sha256, files=first.files, not_before=DAY, not_after=DAY, made_of=first.made_of)

    def name() -> str:
        raise AssertionError("asked")

    assert Offer.of("k", value(), made, known=known, name=name).outputs == first.outputs


def test_a_store_without_a_password_is_refused_and_no_password_shows() -> None:
    with pytest.raises(Refused, match="needs password_file"):
        offer(recipe(BASE))
    made = recipe(BASE, makings=(Making(password="open sesame"),))
    assert "sesame" not in repr(made) + repr(offer(made))


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (("/tls/{name}/key", "/tls/{name}/chain"), "/tls/{name}"),
        (("/tls/site-{name}/key",), "/tls/site-{name}"),
        (("/tls/only/key", "/tls/only/chain"), "/tls/only"),
        (("/tls/key-{name}",), None),
        (("/tls/{name}/key", "/keys/{name}/key"), None),
        (("/tls/{name}/a/key",), None),
        (("/{name}/key",), None),
        (("/tls/only/{name}.key",), None),
        ((), None),
    ],
)
def test_a_folder_that_is_replaced_as_a_whole_is_one_certificate_s(paths: tuple[str, ...], folder: str | None) -> None:
    place = Place(name="web", files=tuple(spec(Content.FULLCHAIN, path) for path in paths), layout=Layout.FLIP)
    if folder is None:
        with pytest.raises(Refused, match="in one folder"):
            flip_folder(place)
    else:
        assert flip_folder(place) == folder
