"""Owners, groups and passwords as this machine has them."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from knit.core.model.places import Content, FileSpec, Place
from knit.errors import Misconfigured, Transient
from knit.node.recipes import LONGEST, LocalRecipes


def place(**more: object) -> Place:
    spec = FileSpec(content=Content.PKCS12, path="/tls/{name}.p12", **more)  # type: ignore[arg-type]
    return Place(name="web", files=(spec,))


def test_names_become_ids_and_a_number_that_is_no_name_is_one() -> None:
    owner, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
    for said in ((owner.pw_name, group.gr_name), (str(owner.pw_uid), str(group.gr_gid))):
        here = place(owner=said[0], group=said[1])
        [making] = LocalRecipes([here]).of(here).makings
        assert (making.owner, making.group) == (owner.pw_uid, group.gr_gid)


@pytest.mark.parametrize("which", ["owner", "group"])
@pytest.mark.parametrize("name", ["no-such-name", "-1", "4294967295", "٣", ""])
def test_an_unknown_owner_or_group_ends_the_start(which: str, name: str) -> None:
    with pytest.raises(Misconfigured, match=rf"place 'web', '/tls/\{{name\}}\.p12': {which} '{name}' is not known"):
        LocalRecipes([place(**{which: name})])


def test_a_password_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "password"
    here = place(password_file=str(file))
    recipes = LocalRecipes([here])
    for text, password in (("one", "one"), ("two words\n", "two words"), ("three\r\n", "three"), ("größe\n", "größe")):
        file.write_text(text, newline="")
        file.chmod(0o640)
        assert [making.password for making in recipes.of(here).makings] == [password]


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "No such file"),
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"secret", 0o644, "has mode 0644"),
        (b"secret", 0o602, "has mode 0602"),
        (b"secret", 0o620, "has mode 0620"),
        (b"secret\nsecret\n", 0o600, "one line"),
        (b"\xff\xfesecret", 0o600, "no text in UTF-8"),
        (b"secret" * LONGEST, 0o600, f"more than {LONGEST} bytes"),
    ],
)
def test_a_password_that_cannot_be_used_is_one_sentence_without_it(
    tmp_path: Path, content: bytes | None, mode: int, why: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    here = place(password_file=str(file))
    with pytest.raises(Transient, match=why) as caught:
        LocalRecipes([here]).of(here)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_pipe_in_place_of_a_password_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "password", 0o600)
    here = place(password_file=str(tmp_path / "password"))
    with pytest.raises(Transient, match="is no plain file"):
        LocalRecipes([here]).of(here)
