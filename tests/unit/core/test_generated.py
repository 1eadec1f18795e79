"""Whatever is published, a value is refused with a reason or gives clean outputs, in every format."""

from __future__ import annotations

import json
import posixpath

import pytest

from knit.core.digest import pair_digest
from knit.core.forbidden import never
from knit.core.model.places import Content, FileSpec, Layout, Place
from knit.core.outputs import ORDINARY, STORES, Making, Recipe
from knit.core.placement import Offer
from knit.core.value import Value
from knit.errors import Refused
from tests.generated import generated
from tests.unit.core.test_outputs import KEY, LEAF, ROOT

SECRET = Making(password="secret")
NAMES = ("a.test", "*.a.test", None, "", "../x", "a/b", "\0", "x" * 300)


def recipe(layout: Layout) -> Recipe:
    """Every format, in a folder of the certificate's own."""
    files = tuple(FileSpec(content=one, path=f"/tls/{{name}}/{one}", password_file="/pw") for one in Content)
    return Recipe(
        place=Place(name="all", files=files, layout=layout),
        makings=tuple(SECRET if one in STORES else Making() for one in Content),
    )


RECIPES = (ORDINARY, recipe(Layout.PAIR), recipe(Layout.FLIP))


def good() -> bytes:
    members = {
        "fullchain": (LEAF + ROOT).decode(),
        "privkey": KEY.decode(),
        "not_after": "2026-05-01T00:00:00Z",
        "sha256": pair_digest(LEAF + ROOT, KEY),
        "cert_path": "/tls/a.crt",
        "key_path": "/tls/a.key",
        "knit": {"v": 1, "id": 1, "generation": 5, "issued_at": "2026-01-01T00:00:00Z"},
    }
    return json.dumps(members).encode()


def taken(raw: bytes, number: int) -> bool:
    """Whether outputs come of it; they are clean then."""
    made = RECIPES[number % len(RECIPES)]
    try:
        value = Value.from_wire(raw)
        value.verify()
        offer = Offer.of("k", value, made, name=lambda: NAMES[number // 3 % len(NAMES)])
    except Refused:
        return False
    assert len(set(offer.paths)) == len(offer.paths) == len(offer.kinds)
    for output in offer.outputs:
        assert output.path == posixpath.normpath(output.path)
        assert not never(output.path)
        assert made is ORDINARY or output.path.startswith("/tls/")
        assert b"PRIVATE KEY" not in output.content or not output.mode & 0o077 or b"PRIVATE KEY" in value.fullchain
    return True


@pytest.mark.parametrize("seed", range(3))
def test_nothing_but_clean_outputs_or_a_refusal_comes_of_what_is_published(seed: int) -> None:
    outcomes = [taken(raw, number) for number, raw in enumerate(generated(good(), seed, 2000))]
    assert set(outcomes) == {True, False}
