"""How far each certificate has come and what failed, packed in memory; as lines of the state log."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from knit.core.model.deployed import Fault, Leaf, Progress, Refusal, Step

Entry = list[object]

LINE = 200
"""Keys that one line names: it must not be too long to be read again."""


class ProgressBook:
    """By key. Whoever changes it writes down the entries that it returns."""

    def __init__(self) -> None:
        self._progress: dict[str, bytes] = {}
        self.attempted: set[str] = set()
        self.refusals: dict[str, Refusal] = {}

    def get(self, key: str) -> Progress | None:
        """How far it has come; None where an earlier knit installed it."""
        packed = self._progress.get(key)
        return None if packed is None else from_fields(json.loads(packed))

    def packed(self, key: str) -> bytes | None:
        """The progress as it is kept: the same bytes as long as it is the same."""
        return self._progress.get(key)

    def place(self, key: str) -> str:
        """The name of its place; empty where that is not known."""
        packed = self._progress.get(key)
        return "" if packed is None else str(json.loads(packed)[0])

    def put(self, key: str, progress: Progress) -> Entry:
        """So far it has come."""
        fields = to_fields(progress)
        self._progress[key] = _packed(fields)
        return ["at", key, fields]

    def attempt(self, keys: Iterable[str]) -> list[Entry]:
        """A server is about to load these."""
        new = sorted(set(keys) - self.attempted)
        self.attempted.update(new)
        return [["reloading", part] for part in _parts(new)]

    def reloaded(self, keys: Iterable[str], at: datetime) -> list[Entry]:
        """A reload of these has succeeded."""
        known = sorted(keys)
        seconds = int(at.timestamp())
        self._reloaded(known, seconds)
        return [["reloaded", seconds, part] for part in _parts(known)]

    def done(self, keys: Collection[str]) -> None:
        """Nothing is owed for these any more."""
        self.attempted.difference_update(keys)

    def served(self, key: str, at: datetime, on: str) -> Entry:
        """It was seen there."""
        seconds = int(at.timestamp())
        self._served(key, seconds, on)
        return ["served", key, seconds, on]

    def refuse(self, refusals: Mapping[str, Refusal]) -> list[Entry]:
        """These have failed."""
        self.refusals.update(refusals)
        return list(_refused(refusals))

    def forgive(self, keys: Iterable[str]) -> list[Entry]:
        """These have not, or no longer matter."""
        gone = sorted(key for key in keys if self.refusals.pop(key, None))
        return [["forgiven", part] for part in _parts(gone)]

    def drop(self, key: str) -> None:
        """It is no longer this node's affair, but for a reload that is owed."""
        self.refusals.pop(key, None)

    def forget(self, keys: Iterable[str]) -> None:
        """Nothing of these is to be known any more."""
        for key in keys:
            self._progress.pop(key, None)
            self.refusals.pop(key, None)
            self.attempted.discard(key)

    def everything(self) -> Iterator[Entry]:
        """All lines that tell what is known."""
        for key, packed in self._progress.items():
            yield ["at", key, json.loads(packed)]
        for part in _parts(sorted(self.attempted)):
            yield ["reloading", part]
        yield from _refused(self.refusals)

    def apply(self, entry: Entry) -> bool:
        """Take this line; whether it is one of these. Raises ValueError for one that is damaged."""
        match entry:
            case ["at", str(key), list(fields)]:
                from_fields(fields)
                self._progress[key] = _packed(fields)
            case ["reloading", [*keys]]:
                self.attempted.update(_texts(keys))
            case ["reloaded", int(seconds), [*keys]]:
                self._reloaded(_texts(keys), seconds)
            case ["served", str(key), int(seconds), str(on)]:
                self._served(key, seconds, on)
            case ["refused", list(fault), [*refused]]:
                self.refusals.update(_read_refusals(_read_fault(fault), refused))
            case ["forgiven", [*keys]]:
                for key in _texts(keys):
                    self.refusals.pop(key, None)
            case _:
                return False
        return True

    def _reloaded(self, keys: Iterable[str], seconds: int) -> None:
        for key in keys:
            progress = self.get(key)
            if progress is not None:
                self.put(key, replace(progress, reloaded_at=_instant(seconds)))

    def _served(self, key: str, seconds: int, on: str) -> None:
        progress = self.get(key)
        if progress is not None:
            self.put(key, replace(progress, served_at=_instant(seconds), served_on=on))


def to_fields(progress: Progress) -> list[object]:
    """The progress as JSON."""
    leaf = progress.leaf
    times = (progress.published_at, progress.written_at, progress.reloaded_at, progress.served_at)
    seconds = [None if one is None else int(one.timestamp()) for one in times]
    return [leaf.place, leaf.name, leaf.serial, leaf.fingerprint, leaf.key_kind, *seconds, progress.served_on]


def from_fields(fields: list[object]) -> Progress:
    """The progress from JSON. Raises ValueError for what is none."""
    match fields:
        case [str(place), name, serial, fingerprint, kind, published, written, reloaded, served, on]:
            return Progress(
                leaf=Leaf(
                    place=place,
                    name=_text(name),
                    serial=_text(serial),
                    fingerprint=_text(fingerprint),
                    key_kind=_text(kind),
                ),
                published_at=_when(published),
                written_at=_when(written),
                reloaded_at=_when(reloaded),
                served_at=_when(served),
                served_on=_text(on),
            )
    raise ValueError("not the members of a certificate's progress")


def _packed(fields: list[object]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def _refused(refusals: Mapping[str, Refusal]) -> Iterator[Entry]:
    """One line for all that one step failed for."""
    groups: dict[Fault, list[Entry]] = {}
    for key, refusal in refusals.items():
        groups.setdefault(refusal.fault, []).append([key, refusal.identity, refusal.generation])
    for fault, refused in groups.items():
        for start in range(0, len(refused), LINE):
            yield ["refused", _fault_fields(fault), refused[start : start + LINE]]


def _fault_fields(fault: Fault) -> list[object]:
    times = [int(fault.at.timestamp()), None if fault.next_try is None else int(fault.next_try.timestamp())]
    return [fault.step.value, fault.error, fault.output, *times, int(fault.rolled_back), fault.tries]


def _read_fault(fields: list[object]) -> Fault:
    match fields:
        case [str(step), str(error), str(output), int(at), next_try, 0 | 1 as rolled_back, int(tries)]:
            return Fault(
                step=Step(step),
                error=error,
                output=output,
                at=_instant(at),
                next_try=_when(next_try),
                rolled_back=bool(rolled_back),
                tries=tries,
            )
    raise ValueError("not the members of a fault")


def _read_refusals(fault: Fault, refused: list[object]) -> dict[str, Refusal]:
    found = {}
    for one in refused:
        match one:
            case [str(key), str(identity), int() | None as generation]:
                found[key] = Refusal(fault=fault, identity=identity, generation=generation)
            case _:
                raise ValueError("not the members of a refusal")
    return found


def _parts(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), LINE):
        yield keys[start : start + LINE]


def _texts(keys: list[object]) -> list[str]:
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is none")
    return [str(key) for key in keys]


def _text(text: object) -> str | None:
    match text:
        case str() | None:
            return text
    raise ValueError("a text that is none")


def _when(seconds: object) -> datetime | None:
    match seconds:
        case None:
            return None
        case int():
            return _instant(seconds)
    raise ValueError("a time that is none")


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("a time beyond all calendars") from error
