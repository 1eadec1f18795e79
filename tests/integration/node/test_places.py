from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher

AS_ROOT = os.geteuid() == 0
DH_PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMIIBCAKCAQEA\n-----END DH PARAMETERS-----\n"


def cause(caplog: pytest.LogCaptureFixture) -> str:
    return str([record.__dict__["cause"] for record in caplog.records if "cause" in record.__dict__][-1])


@pytest.mark.parametrize(
    "place", ["{outside}", "{folder}/../outside", "{folder}x", "{folder}/link", "{folder}/deep/link"]
)
def test_nothing_is_written_outside_the_roots(
    node: Node, publisher: Publisher, tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Path(f"{node.folder}x").mkdir()
    (node.folder / "deep").mkdir()
    (node.folder / "link").symlink_to(outside)
    (node.folder / "deep/link").symlink_to("../../outside")
    folder = place.format(outside=outside, folder=node.folder)
    publisher.publish("cert:a", pki.value(pki.pair(), folder))
    caplog.set_level("INFO")
    # A path below no root may be meant for another node; one that leads out of a root is meant for none.
    assert node.once() is (place in {"{outside}", "{folder}x"})
    assert not list(outside.iterdir())
    assert not list(Path(f"{node.folder}x").iterdir())
    assert not Path(node.reloads).exists()
    assert "KNIT_WATCH_ROOTS" in cause(caplog) or "symbolic link" in cause(caplog) or ".." in cause(caplog)


def test_folders_below_a_root_are_written_to_and_a_root_may_be_a_link(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    (node.folder / "a/b").mkdir(parents=True)
    (tmp_path / "root").symlink_to(node.folder)
    bundle = pki.pair()
    publisher.publish("cert:a", pki.value(bundle, tmp_path / "root//a/./b"))
    assert node.with_settings(roots=("/nowhere", f"{tmp_path}/root/")).once()
    assert (node.folder / "a/b/www.key").read_bytes() == bundle.privkey


def test_a_file_that_cannot_be_read_is_told_as_that(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a node without root's rights; a test with them is refused nothing, so the system's answer is made."""
    (node.folder / "www.key").write_bytes(pki.pair().privkey)
    true = os.open

    def refusing(path: str, *more: Any, **named: Any) -> int:
        if path == "www.key":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return true(path, *more, **named)

    publisher.pair("cert:a", pki.pair())
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refusing)
        assert not node.once()
    assert "cannot be read: Permission denied" in cause(caplog)


@pytest.mark.parametrize("roots", [True, False])
@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
@pytest.mark.parametrize("name", ["www.pem", "www.key"])
def test_only_plain_files_are_replaced(
    node: Node, publisher: Publisher, tmp_path: Path, roots: bool, kind: str, name: str
) -> None:
    target = node.folder / name
    elsewhere = tmp_path / "elsewhere"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.write_text("precious")
    publisher.pair("cert:a", pki.pair())
    if not roots:
        node = node.with_settings(roots=None)
    assert not node.once()
    assert node.files() == {name}
    assert not elsewhere.exists() or elsewhere.read_text() == "precious"
    assert node.reload_count == 0


def test_a_file_with_other_names_is_replaced_under_this_one_alone(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    precious = pki.pair(age=30).fullchain
    (tmp_path / "elsewhere").write_bytes(precious)
    os.link(tmp_path / "elsewhere", node.folder / "www.pem")
    publisher.pair("cert:a", pki.pair())
    assert node.once()
    assert (tmp_path / "elsewhere").read_bytes() == precious


@pytest.mark.parametrize("roots", [True, False])
@pytest.mark.parametrize("name", ["www.pem", "www.key"])
@pytest.mark.parametrize(
    "occupant",
    [
        b"a-host-name\n",
        b"\x7fELF\x02",
        DH_PARAMETERS,
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"<ca>\n" + pki.pair().fullchain,
        pki.authority().fullchain,
        b"x" * 2_000_000,
        b"",
    ],
)
def test_what_others_put_there_is_replaced_only_when_it_is_a_certificate_or_a_key(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture, roots: bool, name: str, occupant: bytes
) -> None:
    (node.folder / name).write_bytes(occupant)
    publisher.pair("cert:a", pki.pair())
    assert not node.with_settings(roots=(str(node.folder),) if roots else None).once()
    assert "no certificate or key in PEM" in cause(caplog)
    assert (node.folder / name).read_bytes() == occupant
    assert node.files() == {name}
    assert node.reload_count == 0


def test_what_this_node_installed_is_repaired_whatever_it_was_turned_into(node: Node, publisher: Publisher) -> None:
    bundle = pki.pair()
    publisher.pair("cert:a", bundle)
    assert node.once()
    (node.folder / "www.key").write_bytes(b"junk")
    assert node.once()
    assert node.pair() == bundle


def test_an_authority_s_placeholder_is_replaced_with_the_key_beside_it(node: Node, publisher: Publisher) -> None:
    placeholder, bundle = pki.authority(), pki.pair()
    (node.folder / "www.pem").write_bytes(placeholder.fullchain)
    (node.folder / "www.key").write_bytes(placeholder.privkey)
    publisher.pair("cert:a", bundle)
    assert node.once()
    assert node.pair() == bundle


def test_a_root_and_a_linked_folder_lead_to_no_trust_store(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"knit-test-{os.getpid()}"
    (tmp_path / "store").symlink_to("/etc/ssl/certs")
    publisher.publish("cert:a", pki.value(pki.pair(), "/etc/ssl/certs", name))
    publisher.publish("cert:b", pki.value(pki.pair(), tmp_path / "store", name))
    for roots in (("/etc/ssl", str(tmp_path)), ("/etc/ssl/certs", str(tmp_path / "store")), None):
        assert not node.with_settings(roots=roots).once()
    assert "never writes" in cause(caplog)
    assert not Path(f"/etc/ssl/certs/{name}.pem").exists()


def test_without_roots_a_linked_folder_is_followed_but_not_to_a_forbidden_place(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = node.with_settings(roots=None)
    (tmp_path / "link").symlink_to(node.folder)
    bundle = pki.pair()
    publisher.publish("cert:a", pki.value(bundle, tmp_path / "link"))
    assert node.once()
    assert node.pair() == bundle
    (tmp_path / "x").symlink_to("/etc/profile.d")
    publisher.publish("cert:b", pki.value(bundle, tmp_path / "x"))
    assert not node.once()
    assert "never writes" in cause(caplog)
    assert not Path("/etc/profile.d/www.pem").exists()


def test_the_node_s_own_state_is_no_place_for_pairs(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish("cert:a", pki.value(pki.pair(), node.settings.state_dir))
    assert not node.with_settings(roots=None).once()
    assert "never writes" in cause(caplog)


def test_a_missing_folder_is_named_and_not_made_and_the_pair_comes_once_it_is_there(
    node: Node, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = pki.pair()
    publisher.publish("cert:a", pki.value(bundle, node.folder / "missing"))
    loop = node.start()
    assert not loop.once()
    assert f"{node.folder}/missing" in cause(caplog)
    (node.folder / "missing").mkdir()
    assert loop._pass(sweep=False)
    assert (node.folder / "missing/www.pem").read_bytes() == bundle.fullchain


def test_key_and_chain_may_live_in_different_folders(node: Node, publisher: Publisher) -> None:
    (node.folder / "private").mkdir()
    bundle = pki.pair()
    raw = pki.value(bundle, node.folder).replace(b"/www.key", b"/private/www.key")
    publisher.publish("cert:a", raw)
    assert node.once()
    assert (node.folder / "private/www.key").read_bytes() == bundle.privkey


def test_a_full_disk_keeps_the_old_pair_whole(node: Node, publisher: Publisher) -> None:
    old = pki.pair(age=30)
    publisher.pair("cert:a", old)
    assert node.once()
    publisher.pair("cert:a", pki.pair("x" * 60 + ".test", *(f"n{i}.test" for i in range(500))), generation=2)
    # Files of this process can grow no further than 5 KB: more than the state needs, less than the chain.
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
        "from knit.node.__main__ import main; sys.argv = ['node', '--once']; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited], env=node.environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert node.files() == {"www.pem", "www.key"}
    assert node.pair() == old
    assert node.reload_count == 1


@pytest.mark.skipif(AS_ROOT and not Path("/usr/bin/setpriv").exists(), reason="needs an unprivileged user")
def test_a_folder_without_permission_keeps_the_old_pair_and_says_so(node: Node, publisher: Publisher) -> None:
    publisher.pair("cert:a", pki.pair(age=30))
    assert node.once()
    old = node.pair()
    publisher.pair("cert:a", pki.pair(), generation=2)
    node.folder.chmod(0o555)
    done = _unprivileged(node)
    node.folder.chmod(0o755)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert node.pair() == old


def _unprivileged(node: Node) -> subprocess.CompletedProcess[str]:
    # Root without its capabilities is bound by the modes of files like everybody else.
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if AS_ROOT else []
    command = [*prefix, sys.executable, "-m", "knit.node", "--once"]
    return subprocess.run(command, env=node.environment(), capture_output=True, text=True, check=False, timeout=60)


def test_a_folder_swapped_for_a_link_again_and_again_leads_nowhere(
    node: Node, publisher: Publisher, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = node.folder / "inner"
    inner.mkdir()
    (node.folder / "trap").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                inner.rename(node.folder / "aside")
                (node.folder / "trap").rename(inner)
                inner.rename(node.folder / "trap")
                (node.folder / "aside").rename(inner)

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        loop = node.start()
        for generation in range(1, 60):
            publisher.publish(
                "cert:a", pki.value(pki.pair(age=60 - generation), inner, generation=generation), generation
            )
            loop._pass(sweep=False)
    finally:
        stop.set()
        racer.join()
    assert not list(outside.iterdir())


def _two_names(kind: str, node: Node, tmp_path: Path) -> Path:
    """Another way to the folder of the node's pairs."""
    if kind == "link":
        (tmp_path / "link").symlink_to(node.folder)
        return tmp_path / "link"
    if kind == "mount":
        (tmp_path / "mount").mkdir()
        if AS_ROOT and not subprocess.run(["mount", "--bind", node.folder, tmp_path / "mount"], check=False).returncode:  # noqa: S607
            return tmp_path / "mount"
        pytest.skip("mounting needs root")
    return Path(f"{node.folder}/.//.")


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("kind", ["link", "mount", "dots"])
def test_a_newcomer_takes_no_pair_s_files_however_it_spells_them(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, lost: bool
) -> None:
    node = node.with_settings(roots=None)
    other = _two_names(kind, node, tmp_path)
    try:
        rightful = pki.pair("shop.test", age=30)
        publisher.publish("cert:z", pki.value(rightful, node.folder))
        assert node.once()
        if lost:
            shutil.rmtree(node.settings.state_dir)
        newcomer = pki.pair("blog.test")
        publisher.publish("cert:a", pki.value(newcomer, f"{node.folder}/." if kind == "dots" else other, cert_id=2))
        for _ in range(2):
            assert not node.once()
            assert node.pair() == rightful
        assert "belongs to 'cert:z' already: 'cert:a' must name another file" in cause(caplog)
        renewed = pki.pair("shop.test")
        publisher.publish("cert:z", pki.value(renewed, node.folder, generation=2), 2)
        assert not node.once()
        assert node.pair() == renewed
        loop = node.start()
        count = [node.reload_count]
        for _ in range(3):
            loop._pass(sweep=False)
        assert [node.reload_count] == count
    finally:
        if kind == "mount":
            subprocess.run(["umount", other], check=True)  # noqa: S607


def test_a_pair_of_other_names_is_replaced_when_no_value_has_a_better_right(node: Node, publisher: Publisher) -> None:
    before, after = pki.pair("shop.test", age=30), pki.pair("shop.test", "www.shop.test")
    publisher.pair("cert:a", before)
    assert node.once()
    shutil.rmtree(node.settings.state_dir)
    publisher.pair("cert:a", after, generation=2)
    assert node.once()
    assert node.pair() == after


def test_of_two_newcomers_on_a_strange_pair_one_wins_and_stays(node: Node, publisher: Publisher) -> None:
    found = pki.pair("old.test", age=30)
    (node.folder / "www.pem").write_bytes(found.fullchain)
    (node.folder / "www.key").write_bytes(found.privkey)
    first, second = pki.pair("a.test"), pki.pair("b.test")
    publisher.pair("cert:a", first)
    publisher.publish("cert:b", pki.value(second, node.folder, cert_id=2))
    for _ in range(3):
        assert not node.once()
        assert node.pair() == first


def test_chain_and_key_under_two_names_of_one_file_are_refused(
    node: Node, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "link").symlink_to(node.folder)
    raw = pki.value(pki.pair(), node.folder).replace(
        f'"key_path":"{node.folder}/www.key"'.encode(), f'"key_path":"{tmp_path}/link/www.pem"'.encode()
    )
    publisher.publish("cert:a", raw)
    assert not node.with_settings(roots=None).once()
    assert "are the same file" in cause(caplog)
    assert not node.files()
