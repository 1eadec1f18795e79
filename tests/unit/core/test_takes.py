"""Which certificates a node takes, and what their files are called."""

from __future__ import annotations

import itertools
import os.path
from collections.abc import Collection
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.forbidden import never
from knit.core.model.places import Content, FileSpec, Layout, NodeFile, Place, Take
from knit.core.outputs import file_name
from knit.core.takes import LONGEST_PART, covers, folders_of, path_of, place_of, takes_one, unreachable
from knit.errors import Elsewhere, Refused

PLACES = {name: Place(name=name) for name in ("web", "mail", "rest")}


def place(takes: tuple[Take, ...], key: str = "certs:a", *names: str) -> str | None:
    try:
        return place_of(NodeFile(name="n", takes=takes, places=PLACES), key, lambda: names).name
    except Elsewhere as error:
        assert repr(key) in str(error)
        return None


def test_the_first_take_that_fits_decides() -> None:
    shop, every = Take(keys=("certs:shop.*",), place="web"), Take(place="rest")
    assert place((shop, every), "certs:shop.example") == "web"
    assert place((shop, every), "certs:mail.example") == "rest"
    assert place((every, shop), "certs:shop.example") == "rest"
    assert place((shop,), "certs:mail.example") is None, "what no take fits is for other nodes"


@pytest.mark.parametrize(
    ("glob", "key", "fits"),
    [
        ("certs:*", "certs:a/b\nc", True),
        ("certs:?", "certs:a", True),
        ("certs:?", "certs:ab", False),
        ("certs:[ab]", "certs:b", True),
        ("certs:[!ab]", "certs:b", False),
        ("certs:a", "certs:A", False),
        ("certs:[", "certs:[", True),
        ("certs.a", "certs:a", False),
    ],
)
def test_a_key_fits_a_glob_whole_and_in_its_own_case(glob: str, key: str, fits: bool) -> None:
    assert (place((Take(keys=(glob,), place="web"),), key) == "web") is fits


def test_one_name_that_fits_is_enough_and_a_star_stands_for_any_number_of_labels() -> None:
    take = (Take(names=("*.example.org",), place="mail"),)
    assert place(take, "k", "other.example", "a.b.example.org") == "mail"
    assert place(take, "k", "*.example.org") == "mail"
    assert place(take, "k", "example.org") is None
    both = (Take(keys=("x",), names=("a.example",), place="mail"),)
    assert place(both, "x") == place(both, "y", "a.example") == "mail"
    assert place(both, "y", "b.example") is None


def test_names_are_not_asked_for_where_a_key_decides() -> None:
    def names() -> Collection[str]:
        raise AssertionError

    takes = (Take(keys=("a*",), place="web"), Take(names=("x",), place="mail"))
    assert place_of(NodeFile(name="n", takes=takes, places=PLACES), "ab", names).name == "web"
    only = NodeFile(name="n", places={"one": Place(name="one")})
    assert place_of(only, "ab", names).name == "one", "without takes all go to the only place"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("shop.example.org", "shop.example.org"),
        ("*.Example.ORG", "_wildcard.example.org"),
        ("localhost", "localhost"),
        ("_srv.xn--bcher-kva.example", "_srv.xn--bcher-kva.example"),
    ],
)
def test_a_name_is_a_part_of_a_path(name: str, part: str) -> None:
    assert file_name(name) == part


HOSTILE = [
    *("", ".", "..", "a..b", ".a", "a.", "../etc/passwd", "a/b", "a\0b", "a\nb", "-a.example", "a b", "ä.example"),
    *("*", "a.*.b", "*.*.b", "_wildcard.example.org", "_WILDCARD.a", "x" * 64, ".".join(["abc"] * 64), "a\\b", "~"),
    None,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_host_name_is_not_put_into_a_path(name: str | None) -> None:
    with pytest.raises(Refused):
        file_name(name)


@given(st.lists(st.text("ab.*_-/A", max_size=12) | st.text(max_size=8), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_file_and_no_name_leaves_its_folder(names: list[str]) -> None:
    parts = []
    for name in names:
        try:
            parts.append(file_name(name))
        except Refused:
            continue
    for part in parts:
        path = path_of(FileSpec(content=Content.CERT, path="/srv/tls/{name}.crt"), part)
        assert os.path.normpath(path) == path == f"/srv/tls/{part}.crt"
    assert len(set(parts)) == len(parts) or names[0].lower() == names[1].lower()


def test_a_path_that_a_name_makes_forbidden_or_too_long_is_refused() -> None:
    spec = FileSpec(content=Content.CERT, path="/srv/tls/{name}")
    assert never("/srv/tls/sudoers.example")
    with pytest.raises(Refused, match="never writes"):
        path_of(spec, file_name("sudoers.example"))
    long = file_name(".".join(["a" * 62] * 3 + ["a" * 63]))
    assert path_of(spec, long) == f"/srv/tls/{long}"
    with pytest.raises(Refused, match=f"{LONGEST_PART} bytes"):
        path_of(FileSpec(content=Content.CERT, path="/srv/tls/{name}.crt"), long)


def test_the_folders_of_a_node_file_are_those_that_are_there_before_any_certificate() -> None:
    def one(path: str, layout: Layout) -> Place:
        return Place(name="x", files=(FileSpec(content=Content.CERT, path=path),), layout=layout)

    paths = [("/srv/b/{name}.crt", Layout.PAIR), ("/srv/a/{name}/crt", Layout.FLIP), ("/x.crt", Layout.PAIR)]
    assert folders_of(one(*path) for path in paths) == ("/", "/srv/a", "/srv/b")
    assert folders_of([Place(name="own")]) == ()


@pytest.mark.parametrize(
    ("takes", "one"),
    [
        ((Take(keys=("certs:a",), place="web"),), True),
        ((Take(names=("mail.example",), place="web"),), True),
        ((Take(keys=("certs:*",), place="web"),), False),
        ((Take(keys=("a", "b"), place="web"),), False),
        ((Take(keys=("a",), names=("b",), place="web"),), False),
        ((Take(keys=("a",), place="web"), Take(keys=("b",), place="web")), False),
        ((Take(place="web"),), False),
        ((), False),
    ],
)
def test_a_place_is_one_certificates_where_its_takes_name_one(takes: tuple[Take, ...], one: bool) -> None:
    assert takes_one(takes) is one


def take(*keys: str, names: tuple[str, ...] = ()) -> Take:
    return Take(keys=keys, names=names, place="web")


@pytest.mark.parametrize(
    ("takes", "found"),
    [
        ((take("a*"), take("ab")), (1, 0)),
        ((take("b*"), take("*"), take("ab", names=("x",))), (2, 1)),
        ((take(), take("ab")), (1, 0)),
        ((take("*"), take()), (1, 0)),
        ((take("a*", "b*"), take("ab", "bc")), (1, 0)),
        ((take("a*"), take("ab", "bc")), None),
        ((take("a*"), take("ab", names=("x",))), None),
        ((take(names=("*",)), take("a")), None),
        ((take(names=("*",)), take(names=("x.example",))), (1, 0)),
        ((take("ab"), take("a*")), None),
        ((take("a"),), None),
        (tuple(take(f"{number}.*", names=(f"*.{number}",)) for number in range(250)), None),
    ],
)
def test_a_take_that_those_before_it_leave_nothing_is_found(
    takes: tuple[Take, ...], found: tuple[int, int] | None
) -> None:
    assert unreachable(takes) == found


GLOBS = st.lists(st.sampled_from(["*", "?", "a", "b", "[ab]", "[!a]", "["]), max_size=4).map("".join)
WORDS = ["".join(letters) for length in range(6) for letters in itertools.product("ab[", repeat=length)]


@given(GLOBS, GLOBS)
def test_a_glob_is_said_to_cover_another_only_where_it_does(wide: str, narrow: str) -> None:
    outside = [word for word in WORDS if fnmatchcase(word, narrow) and not fnmatchcase(word, wide)]
    if covers(wide, narrow):
        assert not outside


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("*", "a*"), ("a*", "ab"), ("a*c", "a*b*c"), ("a?", "ab"), ("?", "[ab]"), ("[ab]", "a"), ("a**", "a*b")],
)
def test_the_plain_cases_of_covering_are_seen(wide: str, narrow: str) -> None:
    assert covers(wide, narrow)
    assert covers(narrow, narrow)
    assert not covers(narrow, wide)
