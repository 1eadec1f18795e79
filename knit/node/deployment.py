"""Puts pairs in their places so that whatever dies, and whenever, each is whole again before any reload.

    journal "move" -> new files beside their targets, old ones given a second name -> journal "going"
    -> rename each pair's files, key first -> folders on disk -> journal "put" (reload owed) -> second names removed

With the layout flip a certificate's folder is a link, the only thing that is renamed, to a folder with all its files.

What the journal says is on its way is finished where all new files are whole; only where that cannot be are the old
files put back.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import posixpath
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TypeVar

from knit.core.digest import contents_digest
from knit.core.model.deployed import Leaf, Progress
from knit.core.outputs import KEY_MODE, Output
from knit.core.placement import Placement
from knit.errors import KnitError, Refused, Transient
from knit.node import files, versions
from knit.node.folders import Folders, Visit
from knit.node.kept import Kept, KeptPair
from knit.node.memory import Memory
from knit.node.moves import TEMPORARY, Move, Part, sha256
from knit.node.told import Once
from knit.node.traits import Traits

log = logging.getLogger(__name__)

T = TypeVar("T")

STAYS = "a temporary file cannot be removed, trying again at every pass"

UNDELETED = "files of a removed certificate cannot be deleted, trying again at every pass"

FORGOTTEN = 300.0
"""Seconds after which a temporary file is no longer part of anybody's work."""


class Deployment:
    """Moves pairs into place, with the journal in the node's memory.

    `torn` are keys whose files can neither be finished nor put back for now: no reload may see them. `stamps` tell
    the files that the last call of `install` has made, in their order.
    """

    def __init__(self, folders: Folders, memory: Memory, kept: Kept) -> None:
        self._folders = folders
        self._memory = memory
        self._kept = kept
        self.torn: set[str] = set()
        self.stamps: dict[str, list[files.Stamp]] = {}
        self._once = Once(log)

    def recover(self) -> None:
        """Make whole what was left half done. Raises Transient when the state folder is not to be had."""
        self._once.turn()
        self._memory.ready()
        moves = list(self._memory.moves.values())
        if moves:
            self._finish(moves)
        for key in list(self._memory.deleting):
            self._delete(key)
        for path in list(self._memory.leftovers):
            self._try_leftover(path)

    def delete(self, key: str) -> None:
        """Remove this key's files, all of them after any death. Raises Transient when the state cannot be written."""
        self._memory.delete(key)
        self._delete(key)

    def _delete(self, key: str) -> None:
        """Those that cannot be removed are tried again at the next pass."""
        paths = self._memory.installed.paths(key) if key in self._memory.installed else ()
        try:
            with self._folders.visit() as visit:
                for folder in {posixpath.dirname(path) for path in paths}:
                    here = [path for path in paths if posixpath.dirname(path) == folder]
                    _remove_all(visit, folder, here)
                visit.sync()
        except KnitError as error:
            self._once.say(logging.WARNING, UNDELETED, key=key, cause=str(error))
        except OSError as error:
            self._once.say(logging.WARNING, UNDELETED, key=key, cause=error.strerror)
        else:
            self._memory.drop([key])
            log.info("files of a removed certificate are deleted", extra={"key": key, "paths": ", ".join(paths)})

    def install(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Put all these pairs in their places; returns why some of them were not.

        Raises Transient when the state folder cannot be written.
        """
        self.stamps.clear()
        failures: dict[str, KnitError] = {
            placement.key: Transient("its files are still being put back")
            for placement in placements
            if placement.key in self.torn
        }
        failures |= self._keep([one for one in placements if one.keeps and one.key not in failures])
        with self._folders.visit() as visit:
            laid = [_as_laid(visit, one) for one in placements if one.key not in failures]
            pairs = [(Move.of(one, self._memory.node), one) for one in laid]
            moves = [move for move, _ in pairs]
            self._memory.begin(moves)
            staged = [found for move, one in pairs if (found := self._staged(visit, move, one, failures))]
            visit.sync()
            try:
                self._memory.proceed(staged)
            except KnitError:
                self._close(visit, [], moves)
                raise
            moved = [move for move in staged if self._moved(visit, move, failures)]
            visit.sync()
            self._close(visit, moved, [*moved, *(move for move in moves if move.key in failures)])
        return failures

    def _keep(self, placements: Sequence[Placement]) -> dict[str, KnitError]:
        """Keep what these replace, where it was good; returns why some of it cannot be."""
        good = [one.key for one in placements if one.key not in self._memory.unloaded]
        pairs = [pair for key in good if (pair := self._good(key)) is not None]
        try:
            self._kept.put(pairs)
        except OSError as error:
            cause = f"the pair that it replaces cannot be kept: {error.strerror}"
            return {pair.key: Transient(cause) for pair in pairs}
        return {}

    def _good(self, key: str) -> KeptPair | None:
        """The pair that is in this key's files, where it is the one that was put there."""
        record = self._memory.installed.get(key)
        if record is None:
            return None
        try:
            with self._folders.visit() as visit:
                found = [files.read(*visit.place(path)) for path in record.paths]
        except KnitError:
            return None
        contents = tuple(content for content in found if content is not None)
        if len(contents) < len(found) or contents_digest(contents) != record.sha256:
            return None
        progress = self._memory.progress.get(key) or Progress(leaf=Leaf(place=""))
        return KeptPair(key=key, record=record, progress=progress, contents=contents)

    def tidy(self, folders: Iterable[str]) -> None:
        """Remove temporary files in these folders that nobody knows of any more: their journal was lost.

        Those of other nodes that write here are left alone while they may still be at work.
        """
        for folder in folders:
            with suppress(KnitError, OSError), self._folders.visit() as visit:
                opened = visit.folder(folder)
                for name in _forgotten(opened, f".knit-{self._memory.node}-"):
                    path = posixpath.join(folder, name)
                    self._remove(opened, name, path)
                    log.info("a temporary file of an earlier run is removed", extra={"path": path})

    def _finish(self, moves: Sequence[Move]) -> None:
        self.torn.clear()
        with self._folders.visit() as visit:
            finished = [move for move in moves if self._finished(visit, move)]
            visit.sync()
            self._close(visit, finished, moves)
        whole = [move for move in moves if move.key not in self.torn]
        if whole:
            fields = {"pairs": len(whole), "finished": len(finished)}
            log.info("an interrupted deployment was made whole", extra=fields)

    def _close(self, visit: Visit, moved: Sequence[Move], moves: Sequence[Move]) -> None:
        self._memory.arrived(moved)
        done = {move.key for move in moved}
        for move in moves:
            if move.key not in self.torn:
                self._clean(visit, move, done=move.key in done)
        self._memory.settle(move for move in moves if move.key not in self.torn)

    def _staged(self, visit: Visit, move: Move, placement: Placement, failures: dict[str, KnitError]) -> Move | None:
        try:
            if placement.create_dirs:
                _make_folders(visit, move, placement)
            had_old, self.stamps[move.key] = self._stage_all(visit, move, placement)
        except KnitError as error:
            failures[move.key] = error
            return None
        return move.found(*had_old)

    def _stage_all(self, visit: Visit, move: Move, placement: Placement) -> tuple[list[bool], list[files.Stamp]]:
        """Whether there was something before, for each part; what tells each new file from others."""
        if placement.flip:
            (link,) = move.parts
            had_old, stamps = self._stage_version(visit, placement, link)
            return [had_old], stamps
        both = zip(move.parts, placement.outputs, strict=True)
        made = [self._stage(visit, placement, part, output) for part, output in both]
        return [had_old for had_old, _ in made], [stamp for _, stamp in made]

    def _stage_version(self, visit: Visit, placement: Placement, link: Part) -> tuple[bool, list[files.Stamp]]:
        """A new version of the folder, and a link to it beside the one there."""
        folder, name = visit.place(link.path)
        for output in placement.outputs:
            visit.judge(link.path, posixpath.basename(output.path))
        version = versions.version_name(link.mark)
        try:
            had_old = _folder_there(placement, link.path, folder, name)
            current = versions.target(folder, name)
            for stale in versions.of_folder(folder, link.path):
                if stale != current:
                    versions.remove(folder, stale)
            versions.make(folder, version)
            stamps = self._fill(folder, version, current or name if had_old else None, placement)
            versions.point(folder, link.new, version)
            if current is not None:
                versions.point(folder, link.old, current)
        except OSError as error:
            raise Transient(f"cannot write {link.path!r}: {error.strerror}") from None
        return had_old, stamps

    def _fill(self, folder: int, version: str, old: str | None, placement: Placement) -> list[files.Stamp]:
        """The files of a version, with owners and rights as those in the old folder have them; on disk."""
        with ExitStack() as opened:
            inside = opened.enter_context(versions.opened(folder, version))
            before = None if old is None else opened.enter_context(versions.opened(folder, old))
            stamps = [self._fill_in(inside, before, output) for output in placement.outputs]
            mode = folder_mode(placement.outputs)
            if before is not None and old is not None:
                Traits.of(folder, old, os.fstat(before), mode).give(inside)
            else:
                os.fchmod(inside, mode)
            os.fsync(inside)
        return stamps

    def _fill_in(self, inside: int, before: int | None, output: Output) -> files.Stamp:
        name = posixpath.basename(output.path)
        about = None if before is None else files.about(before, name)
        there = None
        if before is not None and about is not None and stat.S_ISREG(about.st_mode):
            there = Traits.of(before, name, about, output.mode)
            self._memory.given({output.path: there.unusual(output.mode)})
        return self._made(inside, name, output, there)

    def _stage(self, visit: Visit, placement: Placement, part: Part, output: Output) -> tuple[bool, files.Stamp]:
        """Put the new file and the old one's second name beside the target; whether there was an old one."""
        folder, name = visit.place(part.path)
        try:
            old = _occupant(placement, part.path, folder, name)
            if old is None:
                return False, self._made(folder, part.new, output, None)
            traits = Traits.of(folder, name, old, output.mode)
            self._memory.given({part.path: traits.unusual(output.mode)})
            stamp = self._made(folder, part.new, output, traits)
            return _anew(folder, part.old, lambda: files.keep(folder, name, part.old, traits.give)), stamp
        except OSError as error:
            raise Transient(f"cannot write {part.path!r}: {error.strerror}") from None

    def _made(self, folder: int, name: str, output: Output, there: Traits | None) -> files.Stamp:
        """The new file, with owner and rights of the one that is there, but for what the output names.

        Where none is there, with those that the last one had there.
        """
        kept = self._memory.rights.get(output.path) if there is None else None
        traits = Traits.for_output(output, there if kept is None else kept.fit(output.mode))
        if traits is None:
            return _anew(folder, name, lambda: files.create(folder, name, [output.content], output.mode))

        def dress(opened: int) -> None:
            lost = traits.give(opened)
            if lost is not None:
                if getattr(output, lost) is not None:
                    raise Refused(f"{output.path!r} is to get an {lost} that only root (or CAP_CHOWN) can give it")
                event = "a file's owner or group cannot be kept"
                self._once.say(logging.WARNING, event, path=output.path, lost=lost)

        return _anew(folder, name, lambda: files.create(folder, name, [output.content], KEY_MODE, dress))

    def _moved(self, visit: Visit, move: Move, failures: dict[str, KnitError]) -> bool:
        try:
            for part in move.parts:
                _rename(visit, part)
        except KnitError as error:
            failures[move.key] = error
            self._restore(visit, move)
            return False
        return True

    def _restore(self, visit: Visit, move: Move) -> None:
        for part in move.parts:
            try:
                _put_back(visit, part)
            except OSError as error:
                self.torn.add(move.key)
                event, fields = "the old file cannot be put back, trying again", {"key": move.key, "path": part.path}
                self._once.say(logging.ERROR, event, cause=error.strerror, **fields)
            except KnitError as error:
                self._once.say(logging.WARNING, "the old file cannot be reached", path=part.path, cause=str(error))

    def _finished(self, visit: Visit, move: Move) -> bool:
        try:
            waiting = [part for part in move.parts if _waits(visit, part)]
            for part in waiting:
                _rename(visit, part)
        except KnitError as error:
            if move.is_going:
                event = "a deployment cannot be finished"
                self._once.say(logging.WARNING, event, key=move.key, cause=str(error))
            self._restore(visit, move)
            return False
        return True

    def _clean(self, visit: Visit, move: Move, *, done: bool) -> None:
        for part in move.parts:
            opened = visit.known(part.path)
            if opened is None:
                continue
            if part.is_link:
                self._clean_versions(opened, part, done=done)
            # A first file that is in its place has left nothing.
            for name in () if part.had_old is False and done else (part.new, part.old):
                with suppress(OSError):
                    self._remove(opened, name, posixpath.join(posixpath.dirname(part.path), name))

    def _clean_versions(self, folder: int, link: Part, *, done: bool) -> None:
        """A folder that was in the link's place becomes the version before; one that is not used goes."""
        version = versions.version_name(link.mark)
        try:
            if versions.is_folder(folder, link.old):
                files.replace(folder, link.old, versions.another(link.mark))
            if not done and versions.target(folder, posixpath.basename(link.path)) != version:
                versions.remove(folder, version)
        except FileNotFoundError:
            return
        except OSError as error:
            self._once.say(logging.WARNING, STAYS, path=link.path, cause=error.strerror)

    def _remove(self, folder: int, name: str, path: str) -> None:
        try:
            files.remove(folder, name)
        except OSError as error:
            if path not in self._memory.leftovers:
                self._memory.left(path, there=True)
            self._once.say(logging.WARNING, STAYS, path=path, cause=error.strerror)
            raise

    def _try_leftover(self, path: str) -> None:
        try:
            with self._folders.visit() as visit:
                files.remove(visit.folder(posixpath.dirname(path)), posixpath.basename(path))
        except OSError as error:
            self._once.say(logging.WARNING, STAYS, path=path, cause=error.strerror)
        except KnitError as error:
            self._once.say(logging.WARNING, STAYS, path=path, cause=str(error))
        else:
            self._memory.left(path, there=False)
            log.info("a temporary file that had stayed behind is removed", extra={"path": path})


def _remove_all(visit: Visit, folder: str, paths: Sequence[str]) -> None:
    """These files of one folder; with a link of knit's all versions behind it. A folder that is gone has none."""
    above, _, name = folder.rpartition("/")
    try:
        outer = visit.folder(above or "/")
    except KnitError:
        # The roots may begin here, and a root is no link of knit's.
        outer = None
    if outer is not None:
        if versions.target(outer, name) is not None:
            files.remove(outer, name)
        for version in versions.of_folder(outer, folder):
            versions.remove(outer, version)
        if files.about(outer, name) is None:
            return
    inner = visit.folder(folder)
    for path in paths:
        files.remove(inner, posixpath.basename(path))


def _forgotten(folder: int, ours: str) -> list[str]:
    """Temporary files in the open folder that are ours, or have not changed for a while."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if TEMPORARY.fullmatch(entry.name)]
    before = time.time() - FORGOTTEN
    return [name for name in names if name.startswith(ours) or _changed(folder, name) < before]


def _changed(folder: int, name: str) -> float:
    about = files.about(folder, name)
    return math.inf if about is None else about.st_ctime


def _anew(folder: int, name: str, make: Callable[[], T]) -> T:
    """Make a file; one of this name that an earlier try has left is removed first."""
    try:
        return make()
    except FileExistsError:
        files.remove(folder, name)
        return make()


def _occupant(placement: Placement, path: str, folder: int, name: str) -> os.stat_result | None:
    """What lies there. Raises Refused when knit does not replace it."""
    there = files.about(folder, name)
    if there is None:
        return None
    if not stat.S_ISREG(there.st_mode):
        raise Refused(f"{path!r} is not a plain file: knit replaces no links, folders, pipes or devices")
    if not placement.may_replace(path, lambda: files.read(folder, name)):
        if (why := files.unreadable(folder, name)) is not None:
            raise Refused(
                f"{path!r} was there before and cannot be read: {why}: move it away if the pair belongs there"
            )
        raise Refused(
            f"{path!r} was there before and is no certificate or key in PEM, or an authority's: "
            "move it away if the pair belongs there"
        )
    return there


def _rename(visit: Visit, part: Part) -> None:
    folder, name = visit.folder(posixpath.dirname(part.path)), posixpath.basename(part.path)
    try:
        if part.is_link and versions.is_folder(folder, name):
            files.replace(folder, name, part.old)
        files.replace(folder, part.new, name)
    except OSError as error:
        hint = ": it is a mount point, mount its folder instead" if error.errno == errno.EBUSY else ""
        raise Transient(f"cannot replace {part.path!r}: {error.strerror}{hint}") from None


def _waits(visit: Visit, part: Part) -> bool:
    """Whether the new file waits, not being in its place yet. Raises Transient when it is neither here nor there."""
    folder, name = visit.place(part.path)
    if _holds(folder, part.new, part):
        return True
    if _holds(folder, name, part):
        return False
    raise Transient(f"the new file for {part.path!r} is lost")


def _put_back(visit: Visit, part: Part) -> None:
    """The old file to its place, if the new one is there. Raises OSError when that cannot be, KnitError."""
    folder, name = visit.place(part.path)
    has_old = files.about(folder, part.old) is not None
    is_between = part.is_link and has_old and files.about(folder, name) is None
    if not is_between and not _holds(folder, name, part):
        return
    if has_old:
        if versions.is_folder(folder, part.old):
            # No folder takes the name of a link in one step.
            files.remove(folder, name)
        files.replace(folder, part.old, name)
    elif part.had_old is False:
        # There was no file before, and a lone half of a pair is worse than none.
        files.remove(folder, name)


def _holds(folder: int, name: str, part: Part) -> bool:
    if part.is_link:
        return versions.digest(folder, name) == part.sha256
    data = files.read(folder, name)
    return data is not None and sha256(data) == part.sha256


def _as_laid(visit: Visit, placement: Placement) -> Placement:
    """The placement, with the layout flip where its files lie behind a link of knit's: what is there never changes."""
    folders = {posixpath.dirname(output.path) for output in placement.outputs}
    if placement.flip or len(folders) != 1:
        return placement
    above, _, name = folders.pop().rpartition("/")
    with suppress(KnitError):
        return replace(placement, flip=versions.target(visit.folder(above or "/"), name) is not None)
    return placement


def _make_folders(visit: Visit, move: Move, placement: Placement) -> None:
    for part in move.parts:
        folder = posixpath.dirname(part.path)
        here = [output for output in placement.outputs if posixpath.dirname(output.path) == folder]
        visit.make(part.path, folder_mode(here))


def folder_mode(outputs: Sequence[Output]) -> int:
    """That of a new folder for these files: closed where none of them is for anybody but this process."""
    return 0o700 if outputs and all(not one.mode & 0o077 and one.owner is None for one in outputs) else 0o755


def _folder_there(placement: Placement, path: str, folder: int, name: str) -> bool:
    """Whether a folder of this certificate is there, a link of knit's or a plain one. Raises Refused for others."""
    about = files.about(folder, name)
    if about is None or versions.target(folder, name) is not None:
        return about is not None
    if not stat.S_ISDIR(about.st_mode):
        raise Refused(f"{path!r} is no folder and no link of knit's: move it away if the certificate belongs there")
    known = () if placement.known is None else placement.known.paths
    with versions.opened(folder, name) as inside:
        for entry in versions.names(inside):
            file = f"{path}/{entry}"
            if TEMPORARY.fullmatch(entry) or file in known:
                continue
            if not any(file == output.path for output in placement.outputs):
                raise Refused(f"{path!r} holds {entry!r}, too: with layout flip it must be this certificate's alone")
            _occupant(placement, file, inside, entry)
    return True
