"""What a node must not forget between two runs, as the state log tells it.

Nothing here is needed to be right: a line that is lost costs one comparison with the files, and one reload at most.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence

from knit.core.placement import Installed
from knit.errors import Transient
from knit.node import legacy
from knit.node.moves import Move, is_temporary
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
    of them that no successful reload has followed; `moves` the pairs on their way; `deleting` keys whose files are
    being removed; `leftovers` paths of temporary files that could not be removed; `rights` what the operator has given
    to files, by path, where a new file would not have them; `revision` that of the change feed up to which everything
    has been looked at.
    """

    def __init__(self, folder: StateFolder) -> None:
        self.node = secrets.token_hex(4)
        self.installed = Records()
        self.unloaded: set[str] = set()
        self.moves: dict[str, Move] = {}
        self.deleting: set[str] = set()
        self.leftovers: set[str] = set()
        self.rights: dict[str, Traits] = {}
        self.revision: int | None = None
        self._folder = folder
        self._log = StateLog(folder, self._everything)
        self._waiting: list[Entry] = []
        self._unrecorded: set[str] = set()
        self._stale = False
        self._load()

    @property
    def reload_owed(self) -> bool:
        """Whether something is installed that no successful reload has followed."""
        return not self.unloaded <= self._unrecorded

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
        self._log.append([["move", *move.to_json()] for move in begun])
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
        keys = []
        for key, record in records:
            self._left_behind(key, record.paths)
            self.installed[key] = record
            if not loaded:
                self.unloaded.add(key)
            keys.append(key)
        self._note(self._put(key) for key in keys)

    def discover(self, key: str, record: Installed) -> None:
        """This is installed, and nobody knows since when: a reload is owed.

        But not before that is written down, or a node that cannot write would reload at each start.
        """
        self._unrecorded.add(key)
        self.put([(key, record)], loaded=False)

    def drop(self, keys: Iterable[str]) -> None:
        """These are no longer this node's affair; their reload, if one is owed, still is."""
        gone = [key for key in keys if key in self.installed]
        for key in gone:
            self._left_behind(key)
            del self.installed[key]
        self.deleting.difference_update(keys)
        self._note(["drop", key] for key in gone)

    def loaded(self) -> None:
        """A reload has succeeded."""
        self.unloaded.clear()
        self._note([["loaded"]])

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
        for move in self.moves.values():
            yield _going(move) if move.is_going else ["move", *move.to_json()]
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
                self._left_behind(key)
                self.installed.pop(key, None)
                self.deleting.discard(key)
            case ["rights", str(path), fields] if path.startswith("/"):
                self._give(path, None if fields is None else Traits.from_json(fields))
            case ["owed", str(key)]:
                self.unloaded.add(key)
            case ["loaded"]:
                self.unloaded.clear()
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
            case ["going", str(key), parts, fields, *had_old] if all(isinstance(had, bool) for had in had_old):
                self.moves[key] = Move.from_json(key, parts, fields).found(*map(bool, had_old))
            case ["settled", str(key)]:
                self.moves.pop(key, None)
            case ["delete", str(key)]:
                self.deleting.add(key)
            case ["left" | "gone" as what, str(path)] if is_temporary(path):
                (self.leftovers.add if what == "left" else self.leftovers.discard)(path)
            case _:
                raise ValueError("no entry of this version")


def _rights(path: str, traits: Traits | None) -> Entry:
    return ["rights", path, None if traits is None else traits.to_json()]


def _going(move: Move) -> Entry:
    # The whole move again: should one of the two lines be damaged, the other still tells what is half done.
    return ["going", *move.to_json(), *[bool(part.had_old) for part in move.parts]]
