"""What a node must not forget between two runs, as the state log tells it.

Nothing here is needed to be right: a line that is lost costs one comparison with the files, and one reload at most.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from knit.core.model.deployed import Progress
from knit.core.placement import Installed
from knit.errors import Transient
from knit.node import legacy
from knit.node.moves import Move, is_temporary
from knit.node.progress import LINE, ProgressBook, to_fields
from knit.node.progress import from_fields as from_entry
from knit.node.records import Records, from_fields
from knit.node.state import StateFolder
from knit.node.state_log import Entry, StateLog
from knit.node.traits import Traits

log = logging.getLogger(__name__)

VERSION = 2
RECORD_BYTES = 300


class Memory:
    """Held in memory whole, and written as it changes.

    `node` is a name for this node's temporary files; `installed` what is in the files, by Valkey key, `unloaded` those
    of them that no successful deployment has followed; `progress` how far each has come, and what failed; `moves` the
    pairs on their way; `deleting` keys whose files are being removed; `leftovers` paths of temporary files that could
    not be removed; `rights` what the operator has given to files, by path, where a new file would not have them;
    `revision` that of the change feed up to which everything has been looked at; `changes` grows whenever any of these
    changes.
    """

    def __init__(self, folder: StateFolder) -> None:
        self.node = secrets.token_hex(4)
        self.installed = Records()
        self.unloaded: set[str] = set()
        self.progress = ProgressBook()
        self.moves: dict[str, Move] = {}
        self.deleting: set[str] = set()
        self.leftovers: set[str] = set()
        self.rights: dict[str, Traits] = {}
        self.revision: int | None = None
        self.changes = 0
        self._folder = folder
        self._log = StateLog(folder, self._everything)
        self._waiting: list[Entry] = []
        self._unrecorded: set[str] = set()
        self._stale = False
        self._load()

    @property
    def owed(self) -> set[str]:
        """The keys of what is installed that no successful deployment has followed."""
        return self.unloaded - self._unrecorded

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def ready(self) -> None:
        """Find the folder again if it was taken away, and write down what could not be written. Raises Transient."""
        self._stale |= self._folder.regain()
        if self._stale:
            self._log.rewrite()
            self._folder.forget(*legacy.NAMES)
            self._stale = False
        elif self._waiting:
            self._log.append(self._waiting)
        self._waiting.clear()
        self._unrecorded.clear()

    def begin(self, moves: Iterable[Move]) -> None:
        """These pairs are about to be put beside their places. Raises Transient; then nothing may be touched."""
        self.ready()
        begun = list(moves)
        self._log.append([entry for move in begun for entry in (["move", *move.to_json()], *_with(move))])
        self.moves.update({move.key: move for move in begun})

    def proceed(self, moves: Iterable[Move]) -> None:
        """These are about to be renamed. Raises Transient; then none may be."""
        going = list(moves)
        self._log.append([_going(move) for move in going], sync=True)
        self.moves.update({move.key: move for move in going})

    def delete(self, key: str) -> None:
        """This key's files are about to be removed, and it is dropped then. Raises Transient; then none may be."""
        self.ready()
        self._log.append([["delete", key]], sync=True)
        self.deleting.add(key)

    def settle(self, moves: Iterable[Move]) -> None:
        """These are on their way no longer, and have left nothing behind."""
        keys = [move.key for move in moves if self.moves.pop(move.key, None)]
        self._note(["settled", key] for key in keys)

    def put(self, records: Iterable[tuple[str, Installed]], *, loaded: bool) -> None:
        """These are installed; unless `loaded`, a reload is owed."""
        self._note([self._put_in(key, record, owed=not loaded) for key, record in records])

    def arrived(self, moves: Iterable[Move]) -> None:
        """These are in their places."""
        entries: list[Entry] = []
        for move in moves:
            if not move.owed:
                self.unloaded.discard(move.key)
            entries.append(self._put_in(move.key, move.record, owed=move.owed))
            if move.progress is not None:
                entries.append(self.progress.put(move.key, move.progress))
        self._note(entries)

    def _put_in(self, key: str, record: Installed, *, owed: bool) -> Entry:
        self._left_behind(key, record.paths)
        self.installed[key] = record
        if owed:
            self.unloaded.add(key)
        return self._put(key)

    def discover(self, key: str, record: Installed, progress: Progress | None) -> None:
        """This is installed, and nobody knows since when: a reload is owed.

        But not before that is written down, or a node that cannot write would reload at each start.
        """
        self._unrecorded.add(key)
        if progress is not None:
            self._waiting.append(self.progress.put(key, progress))
        self.put([(key, record)], loaded=False)

    def drop(self, keys: Iterable[str]) -> None:
        """These are no longer this node's affair; their reload, if one is owed, still is."""
        gone = [key for key in keys if key in self.installed]
        for key in gone:
            self._drop(key)
        self.deleting.difference_update(keys)
        self._note(["drop", key] for key in gone)

    def _drop(self, key: str) -> None:
        self._left_behind(key)
        self.installed.pop(key, None)
        if key in self.unloaded:
            self.progress.drop(key)
        else:
            self.progress.forget([key])

    def done(self, keys: Collection[str]) -> None:
        """Nothing is owed for these any more."""
        over = sorted(self.unloaded.intersection(keys))
        everything = len(over) == len(self.unloaded)
        self._done(over)
        if over:
            parts = [over[start : start + LINE] for start in range(0, len(over), LINE)]
            self._note([["loaded"]] if everything else [["done", part] for part in parts])

    def _done(self, keys: Collection[str]) -> None:
        self.unloaded.difference_update(keys)
        self.progress.done(keys)
        self.progress.forget(key for key in keys if key not in self.installed)

    def note(self, entries: Iterable[Entry]) -> None:
        """Write down what has changed in `progress`."""
        self._note(entries)

    def reached(self, revision: int | None) -> None:
        """Everything up to this revision has been looked at."""
        if self.revision != revision:
            self.revision = revision
            self._note([["revision", revision]])

    def given(self, rights: Mapping[str, Traits | None]) -> None:
        """These files have these rights; None: those of a new file."""
        new = {path: traits for path, traits in rights.items() if self.rights.get(path) != traits}
        for path, traits in new.items():
            self._give(path, traits)
        if new:
            self._note([_rights(path, traits) for path, traits in new.items()])

    def left(self, path: str, *, there: bool) -> None:
        """A temporary file could not be removed, or is gone at last."""
        (self.leftovers.add if there else self.leftovers.discard)(path)
        self._note([["left" if there else "gone", path]])

    def _note(self, entries: Iterable[Entry]) -> None:
        """Write this down, now or as soon as that is possible."""
        self.changes += 1
        self._waiting.extend(entries)
        try:
            self.ready()
        except Transient as error:
            log.debug("what is new waits to be written", extra={"cause": str(error)})
        else:
            self._log.tidy()

    def _everything(self) -> Iterator[Entry]:
        yield ["knit", VERSION, self.node]
        yield ["revision", self.revision]
        for key in self.installed:
            yield self._put(key)
        # Of a key that was dropped meanwhile only the reload is left.
        for key in self.unloaded - self.installed.keys():
            yield ["owed", key]
        yield from self.progress.everything()
        for move in self.moves.values():
            yield _going(move) if move.is_going else ["move", *move.to_json()]
            yield from _with(move)
        for key in self.deleting:
            yield ["delete", key]
        for path in self.leftovers:
            yield ["left", path]
        for path, traits in self.rights.items():
            yield _rights(path, traits)

    def _left_behind(self, key: str, paths: Sequence[str] = ()) -> None:
        """What this key's files are given is forgotten, but for these paths and files that another key has by now."""
        if not self.rights or key not in self.installed:
            return
        gone = self.rights.keys() & set(self.installed.paths(key)) - set(paths)
        if gone:
            gone -= {path for other in self.installed if other != key for path in self.installed.paths(other)}
        for path in gone:
            del self.rights[path]

    def _give(self, path: str, traits: Traits | None) -> None:
        if traits is None:
            self.rights.pop(path, None)
        else:
            self.rights[path] = traits

    def _put(self, key: str) -> Entry:
        return ["put", key, self.installed.fields(key), int(key not in self.unloaded)]

    def _load(self) -> None:
        damaged = lines = 0
        for entry in self._log.entries():
            lines += 1
            damaged += entry is None or not self._takes(entry)
        if lines and not damaged:
            self._log.resume(live=RECORD_BYTES * len(self.installed))
        elif lines:
            self._stale = True
            log.warning("node state is damaged, comparing with the files instead", extra={"lines": damaged})
        else:
            self._adopt()

    def _adopt(self) -> None:
        """Take over what an earlier knit remembered. Its files go once this one's is on disk."""
        found = legacy.read(self._folder)
        if found is not None:
            self._stale = True
            self.installed, self.revision, self.moves = found.installed, found.revision, found.moves
            self.unloaded = set(found.installed) if found.reload_owed else set()

    def _takes(self, entry: Entry) -> bool:
        try:
            self._apply(entry)
        except (ValueError, RecursionError):
            return False
        return True

    def _apply(self, entry: Entry) -> None:
        match entry:
            case ["put", str(key), fields, 0 | 1 as loaded]:
                self._left_behind(key, from_fields(fields).paths if self.rights else ())
                self.installed.take(key, fields)
                (self.unloaded.discard if loaded else self.unloaded.add)(key)
            case ["drop", str(key)]:
                self._drop(key)
                self.deleting.discard(key)
            case ["rights", str(path), fields] if path.startswith("/"):
                self._give(path, None if fields is None else Traits.from_json(fields))
            case ["owed", str(key)]:
                self.unloaded.add(key)
            case ["loaded"]:
                # An earlier knit knew one reload, of everything.
                self._done(sorted(self.unloaded))
            case ["done", list(keys)]:
                self._done([str(key) for key in keys])
            case ["revision", int() | None as revision]:
                self.revision = revision
            case ["knit", 2, str(node)]:
                self.node = node
            case _:
                self._apply_move(entry)

    def _apply_move(self, entry: Entry) -> None:
        match entry:
            case ["move", str(key), parts, fields]:
                self.moves[key] = Move.from_json(key, parts, fields)
            case ["with", str(key), list(progress), 0 | 1 as owed] if key in self.moves:
                self.moves[key] = replace(self.moves[key], progress=from_entry(progress), owed=bool(owed))
            case ["going", str(key), parts, fields, *had_old] if all(isinstance(had, bool) for had in had_old):
                known, move = self.moves.get(key), Move.from_json(key, parts, fields).found(*map(bool, had_old))
                if known is not None:
                    move = replace(move, progress=known.progress, owed=known.owed)
                self.moves[key] = move
            case ["settled", str(key)]:
                self.moves.pop(key, None)
            case ["delete", str(key)]:
                self.deleting.add(key)
            case ["left" | "gone" as what, str(path)] if is_temporary(path):
                (self.leftovers.add if what == "left" else self.leftovers.discard)(path)
            case _:
                if not self.progress.apply(entry):
                    raise ValueError("no entry of this version")


def _with(move: Move) -> list[Entry]:
    """A line of its own, so that an earlier knit can read the move's."""
    return [] if move.progress is None else [["with", move.key, to_fields(move.progress), int(move.owed)]]


def _rights(path: str, traits: Traits | None) -> Entry:
    return ["rights", path, None if traits is None else traits.to_json()]


def _going(move: Move) -> Entry:
    # The whole move again: should one of the two lines be damaged, the other still tells what is half done.
    return ["going", *move.to_json(), *[bool(part.had_old) for part in move.parts]]
