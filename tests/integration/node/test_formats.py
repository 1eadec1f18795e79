"""A whole node that makes files of every format."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content, FileSpec, Place
from knit.core.outputs import Seal
from knit.flows.watch import Watch
from knit.node.inspector import Inspector
from knit.node.recipes import LocalRecipes
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher
from tests.integration.node.test_places import cause
from tests.integration.node.test_stores import is_pair, read_by_openssl

OLD, NEW = pki.pair("*.shop.test", "shop.test", age=30), pki.pair("*.shop.test", "shop.test", age=2)
FILES = {f"_wildcard.shop.test.{content}" for content in Content}


def every_format(folder: Path, password: Path) -> Place:
    specs = [
        FileSpec(
            content=content,
            path=f"{folder}/{{name}}.{content}",
            password_file=str(password) if content in {Content.PKCS12, Content.JKS} else None,
        )
        for content in Content
    ]
    return Place(name="all", files=tuple(specs))


class Shop:
    """A node whose only place makes every format."""

    def __init__(self, node: Node, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.password = home / "password"
        self.write("first")
        self.place = every_format(node.folder, self.password)
        monkeypatch.setattr(Watch, "_recipe", lambda *_: LocalRecipes([self.place]).of(self.place))

    def write(self, password: str) -> None:
        self.password.write_text(f"{password}\n")
        self.password.chmod(0o600)

    def path(self, content: Content) -> Path:
        return self.node.folder / f"_wildcard.shop.test.{content}"

    def stamps(self) -> dict[str, tuple[int, int]]:
        stats = {path.name: path.stat() for path in self.node.folder.iterdir()}
        return {name: (about.st_ino, about.st_mtime_ns) for name, about in stats.items()}

    def check(self, pair: Bundle, password: str) -> None:
        assert self.node.files() == FILES
        leaf, _, chain = pair.fullchain.partition(b"-----END CERTIFICATE-----\n")
        expected = {
            Content.FULLCHAIN: pair.fullchain,
            Content.CERT: leaf + b"-----END CERTIFICATE-----\n",
            Content.CHAIN: chain,
            Content.PRIVKEY: pair.privkey,
            Content.COMBINED: pair.privkey + pair.fullchain,
        }
        assert {content: self.path(content).read_bytes() for content in expected} == expected
        secret = {path.name for path in self.node.folder.iterdir() if path.stat().st_mode & 0o077 == 0}
        assert secret == {self.path(one).name for one in ("privkey", "combined", "pkcs12", "jks")}  # type: ignore[arg-type]
        assert is_pair(read_by_openssl(self.path(Content.PKCS12), password), pair)
        inspector = Inspector(os.environ)
        jks = Seal(content=Content.JKS, password=password, alias="knit")
        assert inspector.opens(self.path(Content.JKS).read_bytes(), jks)
        inspector.close()


@pytest.fixture
def shop(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(node, tmp_path, monkeypatch)


def test_every_format_is_written_once_and_again_only_for_another_pair_or_password(
    shop: Shop, publisher: Publisher
) -> None:
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    shop.check(OLD, "first")
    before = shop.stamps()
    loop = shop.node.start()
    for sweep in (True, False, True):
        assert loop._pass(sweep=sweep)
    assert shop.stamps() == before
    assert shop.node.reload_count == 1
    shop.write("second")
    # A running node finds it at its next look at everything.
    assert loop._pass(sweep=True)
    shop.node.opened.close()
    shop.check(OLD, "second")
    assert shop.node.reload_count == 2
    publisher.pair("cert:a", NEW, generation=2)
    assert shop.node.once()
    shop.check(NEW, "second")
    assert shop.node.reload_count == 3


@pytest.mark.parametrize("content", list(Content))
def test_each_is_looked_after(shop: Shop, publisher: Publisher, content: Content) -> None:
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    shop.path(content).write_bytes(b"broken")
    assert shop.node.once()
    shop.check(OLD, "first")
    assert shop.node.reload_count == 2


def test_a_node_without_its_memory_knows_its_key_stores_by_their_password(
    shop: Shop, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    shutil.rmtree(shop.node.settings.state_dir)
    publisher.pair("cert:a", NEW, generation=2)
    assert shop.node.once()
    shop.check(NEW, "first")
    shutil.rmtree(shop.node.settings.state_dir)
    shop.write("another")
    before = shop.stamps()
    assert not shop.node.once()
    assert shop.stamps() == before
    assert "was there before and is no certificate or key in PEM" in cause(caplog)


@pytest.mark.parametrize("broken", ["missing", "empty", "open"])
def test_without_its_password_a_certificate_s_files_stay_and_its_reason_is_told(
    shop: Shop, publisher: Publisher, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    before = shop.stamps()
    match broken:
        case "missing":
            shop.password.unlink()
        case "empty":
            shop.write("")
        case "open":
            shop.password.chmod(0o644)
    publisher.pair("cert:a", NEW, generation=2)
    assert not shop.node.once()
    assert shop.stamps() == before
    assert f"password_file '{shop.password}'" in cause(caplog)
    shop.write("first")
    assert shop.node.once()
    shop.check(NEW, "first")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_place_says_of_owner_group_and_mode_is_so_and_the_rest_stays(shop: Shop, publisher: Publisher) -> None:
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    for name in FILES:
        os.chown(shop.node.folder / name, 1234, 4321)
        (shop.node.folder / name).chmod(0o640)
    said = replace(shop.place.files[0], mode=0o444, owner="4242")
    shop.place = replace(shop.place, files=(said, *shop.place.files[1:]))
    assert shop.node.once()
    for name in FILES:
        about = (shop.node.folder / name).stat()
        is_said = name.endswith(".fullchain")
        assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (
            (4242, 4321, 0o444) if is_said else (1234, 4321, 0o640)
        )
    assert shop.node.once()
    assert shop.node.reload_count == 2


def test_no_password_is_in_the_log_or_in_the_state(
    shop: Shop, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    shop.write("open-sesame")
    publisher.pair("cert:a", OLD)
    assert shop.node.once()
    shop.check(OLD, "open-sesame")
    assert not [record for record in caplog.records if "sesame" in repr(record.__dict__)]
    state = Path(shop.node.settings.state_dir)
    assert not [path for path in state.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
