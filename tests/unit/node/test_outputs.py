"""Outputs in any number, as the journal and the records of a node keep them; two of them as ever."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.digest import contents_digest, pair_digest
from knit.core.model.certificate import Bundle, CertId
from knit.core.outputs import File, Output, outputs_of
from knit.core.placement import Installed, Placement
from knit.node.memory import Memory
from knit.node.moves import Move, is_temporary
from knit.node.records import Records, from_fields, pack, to_fields, unpack
from knit.node.state import StateFolder

RECORDED = Path(__file__).parents[2] / "golden/node"

MOMENTS = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30).map(
    "/".__add__
)
OUTPUTS = st.lists(
    st.builds(Output, path=PATHS, content=st.binary(max_size=50), mode=st.integers(0, 0o7777)),
    min_size=1,
    max_size=4,
    unique_by=lambda output: output.path,
).map(tuple)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    outputs = draw(OUTPUTS)
    record = Installed(
        sha256=contents_digest([output.content for output in outputs]),
        files=tuple(output.file for output in outputs),
        not_before=draw(MOMENTS),
        not_after=draw(MOMENTS),
        generation=draw(st.none() | st.integers(0, 2**53)),
        made_of=draw(st.none() | st.just("0a" * 32)),
    )
    return Placement(key=draw(st.text(max_size=10)), outputs=outputs, record=record)


@given(placements())
def test_a_record_of_any_number_of_files_comes_back_packed_and_as_json(placement: Placement) -> None:
    record, records = placement.record, Records()
    assert unpack(pack(record)) == record
    assert from_fields(json.loads(json.dumps(to_fields(record)))) == record
    records["a"] = record
    assert records.paths("a") == record.paths
    assert records.fields("a") == to_fields(record)


@given(placements(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_move_of_any_number_of_files_comes_back_in_its_order(placement: Placement, had_old: list[bool]) -> None:
    move = Move.of(placement, "0badcafe")
    key, parts, fields = json.loads(json.dumps(move.to_json()))
    assert Move.from_json(key, parts, fields) == move
    assert [part.path for part in move.parts] == [output.path for output in placement.outputs]
    names = [name for part in move.parts for name in (part.new, part.old)]
    assert len(set(names)) == len(names)
    assert all(is_temporary(f"/tls/{name}") for name in names)
    going = move.found(*had_old[: len(move.parts)])
    assert going.is_going
    with pytest.raises(ValueError, match="argument"):
        move.found(*had_old[: len(move.parts)], True)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_the_hash_of_key_and_chain_is_the_pairs(fullchain: bytes, privkey: bytes) -> None:
    assert contents_digest([privkey, fullchain]) == pair_digest(fullchain, privkey)


@given(st.lists(st.binary(max_size=3), min_size=2, max_size=4))
def test_no_byte_moves_from_one_file_to_another_unnoticed(contents: list[bytes]) -> None:
    whole = b"".join(contents)
    others = [[whole[:cut], *contents[2:], whole[cut:]] for cut in range(len(whole))]
    digest = contents_digest(contents)
    assert all(
        (contents_digest(other) == digest) == (other == contents) for other in others if len(other) == len(contents)
    )


def test_a_published_pair_is_a_key_for_its_owner_and_a_chain_for_all() -> None:
    bundle = Bundle(fullchain=b"chain", privkey=b"key")
    outputs = outputs_of(bundle, cert_path="/tls/a.pem", key_path="/tls/a.key")
    assert outputs == (
        Output(path="/tls/a.key", content=b"key", mode=0o600),
        Output(path="/tls/a.pem", content=b"chain", mode=0o644),
    )
    assert "content" not in repr(outputs)


FIRST = outputs_of(Bundle(fullchain=b"", privkey=b""), cert_path="/a.pem", key_path="/a.key")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = Installed(sha256="00" * 32, files=tuple(one.file for one in FIRST), not_before=DAY, not_after=DAY)


def test_two_usual_files_take_no_more_room_than_their_paths() -> None:
    assert len(pack(RECORD)) == 64 + len("/a.key\0/a.pem")
    assert to_fields(RECORD)[1:3] == ["/a.pem", "/a.key"]


def test_a_mode_that_is_not_the_usual_one_is_remembered() -> None:
    wide = replace(RECORD, files=(File("/a.key", 0o640), File("/a.pem", 0o644)))
    assert to_fields(wide)[1:3] == ["/a.pem", "640/a.key"]
    assert unpack(pack(wide)) == wide


@pytest.mark.parametrize("made_of", [5, "", "0A" * 32, "00" * 31, None], ids=str)
def test_what_files_cannot_have_been_made_of_is_a_value_error(made_of: object) -> None:
    with pytest.raises(ValueError, match="made of"):
        from_fields(["00" * 32, ["/a"], 1, 2, None, None, made_of])


@pytest.mark.parametrize("files", [[], [5], [None], ["a"], ["/a", ["/b"]], ["9/a"], ["/a\0/b"], "/a", [""]], ids=str)
def test_files_that_are_none_are_a_value_error(files: object) -> None:
    with pytest.raises(ValueError, match=r"record|path"):
        from_fields(["00" * 32, files, 1, 2, None, None])


def placement(
    name: str, chain: bytes, key: bytes, cert_id: int | None = None, generation: int | None = None
) -> Placement:
    outputs = outputs_of(
        Bundle(fullchain=chain, privkey=key), cert_path=f"/tls/{name}.pem", key_path=f"/tls/keys/{name}.key"
    )
    record = Installed(
        sha256=pair_digest(chain, key),
        files=tuple(output.file for output in outputs),
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2026, 4, 1, 12, 30, tzinfo=UTC),
        cert_id=None if cert_id is None else CertId(cert_id),
        generation=generation,
    )
    return Placement(key=f"certs:{name}", outputs=outputs, record=record)


ONE = placement("größe", b"chain a", b"key a", 7, 1767225600)
TWO = placement("b", b"chain b", b"key b")
THREE = placement("c", b"chain c", b"key c", 9, 0)
NODE = "0badcafe"
LEFT = [f"/tls/.knit-{NODE}-0123456789abcdef-{end}.tmp" for end in ("key.old", "chain.new")]


def test_the_state_is_written_byte_for_byte_as_before_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded files were written by the knit that knew of exactly two files, which must still read these."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: NODE)
    folder = StateFolder(str(tmp_path))
    memory = Memory(folder)
    moves = [Move.of(one, memory.node) for one in (ONE, TWO, THREE)]
    memory.begin(moves)
    memory.proceed([moves[0].found(True, False), moves[1].found(False, False)])
    memory.put([(one.key, one.record) for one in (ONE, TWO)], loaded=False)
    memory.settle(moves[:1])
    memory.done(memory.unloaded)
    memory.discover(THREE.key, THREE.record, None)
    memory.drop([TWO.key])
    memory.reached(1767225600000001)
    for path in LEFT:
        memory.left(path, there=True)
    memory.left(LEFT[1], there=False)
    assert (tmp_path / "state.log").read_bytes() == (RECORDED / "state.log").read_bytes()
    memory.unloaded = {TWO.key}
    memory._log.rewrite()
    assert (tmp_path / "state.log").read_bytes() == (RECORDED / "state-anew.log").read_bytes()
    memory.close()
    folder.close()


@pytest.mark.parametrize(("name", "unloaded"), [("state.log", THREE.key), ("state-anew.log", TWO.key)])
def test_the_state_of_a_knit_before_outputs_is_read(tmp_path: Path, name: str, unloaded: str) -> None:
    (tmp_path / "state.log").write_bytes((RECORDED / name).read_bytes())
    folder = StateFolder(str(tmp_path))
    memory = Memory(folder)
    assert memory.node == NODE
    assert dict(memory.installed) == {ONE.key: ONE.record, THREE.key: THREE.record}
    assert memory.unloaded == {unloaded}
    assert memory.revision == 1767225600000001
    assert memory.leftovers == {LEFT[0]}
    assert memory.moves == {
        TWO.key: Move.of(TWO, NODE).found(False, False),
        THREE.key: Move.of(THREE, NODE),
    }
    assert not memory._stale
    memory.close()
    folder.close()
