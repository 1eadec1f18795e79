"""What a folder's files mean: pairs by their public keys, and nothing half written."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.errors import Misconfigured
from knit.tls import folder as module
from knit.tls.contexts import Contexts
from knit.tls.folder import YOUNG, Folder
from tests.integration.node import pki


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path), Contexts(None).check)


def put(path: Path, content: bytes) -> Path:
    """As a node writes: a new file renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".knit-{path.name}")
    new.write_bytes(content)
    return new.replace(path)


def install(place: Path, bundle: Bundle, name: str = "www") -> Bundle:
    put(place / f"{name}.key", bundle.privkey)
    put(place / f"{name}.crt", bundle.fullchain)
    return bundle


def served(folder: Folder) -> dict[str, Bundle]:
    folder.look()
    return {Path(origin).name: pair.bundle for origin, pair in folder.pairs.items()}


def first_of(chain: bytes) -> bytes:
    return chain.partition(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"


def test_a_key_belongs_to_the_chain_with_its_public_key_whatever_the_files_are_called(
    folder: Folder, tmp_path: Path
) -> None:
    one, two = pki.pair("one.test"), pki.pair("two.test")
    put(tmp_path / "a.pem", one.fullchain)
    put(tmp_path / "keys" / "b", one.privkey)
    put(tmp_path / "a.key", two.privkey)
    put(tmp_path / "chains" / "deep" / "b.pem", two.fullchain)
    assert served(folder) == {"a.pem": one, "b.pem": two}
    assert folder.complaints == {}


def test_one_file_may_hold_both(folder: Folder, tmp_path: Path) -> None:
    bundle = pki.pair()
    put(tmp_path / "both.pem", bundle.privkey + bundle.fullchain)
    assert served(folder) == {"both.pem": bundle}


def test_of_several_files_with_one_certificate_the_longest_chain_is_taken(folder: Folder, tmp_path: Path) -> None:
    bundle = pki.pair()
    put(tmp_path / "privkey.pem", bundle.privkey)
    put(tmp_path / "cert.pem", first_of(bundle.fullchain))
    put(tmp_path / "fullchain.pem", bundle.fullchain)
    put(tmp_path / "chain.pem", pki.authority().fullchain)
    assert served(folder) == {"fullchain.pem": bundle}
    assert folder.complaints == {}


def test_a_placeholder_that_calls_itself_an_authority_is_served_with_its_key(folder: Folder, tmp_path: Path) -> None:
    placeholder = install(tmp_path, pki.authority())
    assert served(folder) == {"www.crt": placeholder}


def test_files_on_their_way_and_other_files_are_passed_over(folder: Folder, tmp_path: Path) -> None:
    bundle = install(tmp_path, pki.pair())
    (tmp_path / ".knit-new").write_bytes(pki.pair().privkey)
    (tmp_path / "README").write_text("about these files")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert served(folder) == {"www.crt": bundle}
    assert folder.complaints == {}


def test_a_flipped_link_is_followed_to_the_new_pair(folder: Folder, tmp_path: Path) -> None:
    versions = tmp_path / ".versions"
    old, new = install(versions / "1", pki.pair()), install(versions / "2", pki.pair())
    (tmp_path / "live").symlink_to(versions / "1")
    assert served(folder) == {"www.crt": old}
    (tmp_path / "next").symlink_to(versions / "2")
    (tmp_path / "next").replace(tmp_path / "live")
    assert served(folder) == {"www.crt": new}


def test_between_the_two_renames_the_old_pair_stays(folder: Folder, tmp_path: Path) -> None:
    old, new = install(tmp_path, pki.pair()), pki.pair()
    assert served(folder) == {"www.crt": old}
    put(tmp_path / "www.key", new.privkey)
    assert served(folder) == {"www.crt": old}
    assert folder.complaints == {
        str(tmp_path / "www.crt"): "no key here belongs to this certificate",
        str(tmp_path / "www.key"): "no certificate here has this key",
    }
    put(tmp_path / "www.crt", new.fullchain)
    assert served(folder) == {"www.crt": new}
    assert folder.complaints == {}


@pytest.mark.parametrize("what", ["crt", "key"])
def test_a_file_that_is_cut_anywhere_never_takes_the_place_of_a_whole_one(
    folder: Folder, tmp_path: Path, what: str
) -> None:
    old, new = install(tmp_path, pki.pair()), pki.pair()
    assert served(folder) == {"www.crt": old}
    put(tmp_path / "www.key", new.privkey if what == "crt" else old.privkey)
    whole = new.fullchain if what == "crt" else new.privkey
    boundaries = {len(first_of(new.fullchain)), len(first_of(new.fullchain)) - 1} if what == "crt" else set()
    for length in {0, 1, 10, 27, 40, 200, len(whole) // 2, len(whole) - 30, len(whole) - 2} - boundaries:
        (tmp_path / f"www.{what}").write_bytes(whole[:length])
        assert served(folder) == {"www.crt": old}, length
        assert folder.complaints
    (tmp_path / f"www.{what}").write_bytes(whole)
    assert served(folder) == {"www.crt": new if what == "crt" else old}


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 100,
        b"nothing of the kind\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"x" * 300_000,
    ],
)
def test_what_is_no_pair_any_more_leaves_the_old_one_and_is_told(
    folder: Folder, tmp_path: Path, garbage: bytes
) -> None:
    old = install(tmp_path, pki.pair())
    assert served(folder) == {"www.crt": old}
    put(tmp_path / "www.crt", garbage)
    assert served(folder) == {"www.crt": old}
    assert folder.complaints
    new = install(tmp_path, pki.pair())
    assert served(folder) == {"www.crt": new}


def test_a_pair_that_servers_refuse_leaves_the_old_one(folder: Folder, tmp_path: Path) -> None:
    old = install(tmp_path, pki.pair())
    assert served(folder) == {"www.crt": old}
    weak = pki.pair()
    install(tmp_path, Bundle(fullchain=weak.fullchain * 9, privkey=weak.privkey))
    assert served(folder) == {"www.crt": old}
    assert "more than 16 certificates" in folder.complaints[str(tmp_path / "www.crt")]


def test_a_pair_that_is_removed_goes_at_the_second_look(folder: Folder, tmp_path: Path) -> None:
    www, api = install(tmp_path, pki.pair()), install(tmp_path, pki.pair(), "api")
    assert served(folder) == {"www.crt": www, "api.crt": api}
    (tmp_path / "api.crt").unlink()
    (tmp_path / "api.key").unlink()
    assert served(folder) == {"www.crt": www, "api.crt": api}
    assert served(folder) == {"www.crt": www}
    assert not folder.look()


def test_a_folder_that_is_emptied_or_away_leaves_all(folder: Folder, tmp_path: Path) -> None:
    pair = install(tmp_path / "below", pki.pair())
    assert served(folder) == {"www.crt": pair}
    shutil.rmtree(tmp_path / "below")
    for _ in range(3):
        assert served(folder) == {"www.crt": pair}
    assert folder.complaints == {str(tmp_path): "nothing is there, keeping what was"}
    tmp_path.rmdir()
    with pytest.raises(Misconfigured, match="No such file"):
        folder.look()
    assert folder.pairs
    tmp_path.mkdir()
    again = install(tmp_path, pki.pair())
    served(folder)
    assert served(folder) == {"www.crt": again}


def test_a_look_reads_only_what_has_changed(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        install(tmp_path, pki.pair(), f"n{number}")
    time.sleep(2 * YOUNG)
    assert folder.look()
    opened: list[str] = []
    whole = module._parsed

    def parsed(path: str, sign: module.Sign) -> module._File | None:
        opened.append(Path(path).name)
        return whole(path, sign)

    monkeypatch.setattr(module, "_parsed", parsed)
    before = dict(folder.pairs)
    assert not folder.look()
    assert opened == []
    bundle = pki.pair()
    install(tmp_path, bundle, "n3")
    assert folder.look()
    assert set(opened) == {"n3.crt", "n3.key"}
    changed = {origin for origin in before if folder.pairs[origin] is not before[origin]}
    assert changed == {str(tmp_path / "n3.crt")}


def test_a_file_that_has_changed_just_now_is_read_again(tmp_path: Path) -> None:
    path, now = put(tmp_path / "www.key", pki.pair().privkey), time.time_ns()
    young, old = (module._parsed(str(path), (1, 1, 241, now, changed)) for changed in (now, now - 10**9))
    assert young is not None
    assert old is not None
    assert (young.sign is None, old.sign is None) == (True, False)
