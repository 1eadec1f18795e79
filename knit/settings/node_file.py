"""A node's certificates and places as a file describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from knit.core.model.places import FileSpec, Layout, NodeFile, OnRemove, Place, Probe, Take
from knit.core.outputs import NAME
from knit.core.placement import target
from knit.core.presets import PRESETS
from knit.core.takes import LONGEST_PART, takes_one, unreachable
from knit.errors import Misconfigured, Refused
from knit.settings.accounts import group_id, user_id
from knit.settings.document import Document, Path
from knit.settings.node_keys import FILE, PLACE, PLACE_NAME, PROBE, SECRET, STORES, TAKE, TOP

SAMPLE = "example.org"
"""Stands for a certificate's name where a path is judged before there is one."""


def described(origin: str, raw: str, *, name: str, only: Place) -> NodeFile:
    """The node of the file that errors call `origin`.

    `name` and `only` are its name and its only place where the file says nothing of them. Raises Misconfigured.
    """
    if raw.startswith("/") and "\n" not in raw:
        raise Misconfigured(f"{origin}: describes no node; the path of a file that does is for KNIT_NODE_FILE")
    file = Document.parse(origin, raw)
    top = file.values((), file.content, TOP)
    takes = tuple(_take(file, number, table) for number, table in enumerate(top["take"]))
    places = {called: _place(file, called, table) for called, table in top["place"].items()} or {only.name: only}
    _check_takes(file, takes, places, described=bool(top["place"]))
    for place in places.values():
        _check_files(file, place, [take for take in takes if take.place == place.name])
    _check_shared(file, places)
    return NodeFile(name=top["name"] or name, takes=takes, places=places)


def _take(file: Document, number: int, table: Mapping[str, Any]) -> Take:
    values = file.values(("take", number), table, TAKE)
    return Take(**values)


def _check_takes(file: Document, takes: tuple[Take, ...], places: Mapping[str, Place], *, described: bool) -> None:
    for number, take in enumerate(takes):
        if take.place not in places or not described:
            known = ", ".join(places) if described else "none is described"
            raise file.wrong(
                ("take", number, "place"), f"take {number + 1}: no place is called {take.place[:60]!r} ({known})"
            )
    if (found := unreachable(takes)) is not None:
        late, early = found
        raise file.wrong(
            ("take", late), f"take {late + 1}: no certificate reaches it, take {early + 1} has them all; the first wins"
        )
    if not takes and len(places) > 1:
        raise Misconfigured(f"{file.name}: which certificates go to which of {', '.join(places)}? Say it in [[take]]")
    if takes and (unused := places.keys() - {take.place for take in takes}):
        one = min(unused)
        raise file.wrong(("place", one), f"place.{one}: no take names it, so nothing goes there")


def _place(file: Document, name: str, table: object) -> Place:
    path: Path = ("place", name)
    if not PLACE_NAME.fullmatch(name):
        raise file.wrong(path, f"place {name[:60]!r}: a name must be 1 to 40 of a-z, 0-9 and hyphens")
    if not isinstance(table, Mapping):
        raise file.wrong(path, f"place.{name}: must be a table, [place.{name}]")
    values = file.values(path, table, PLACE)
    base = Place(name=name) if values["preset"] is None else PRESETS[values["preset"]]
    given = {key: values[key] for key in table}
    if "files" in given:
        tables = enumerate(given["files"])
        given["files"] = tuple(_file(file, (*path, "files", number), one) for number, one in tables)
    if "probe" in given:
        given["probe"] = _probe(file, (*path, "probe"), given["probe"], base.probe)
    place = replace(base, **{"name": name, "preset": None, **given})
    if place.on_remove is OnRemove.DELETE:
        raise file.wrong(
            (*path, "on_remove"), 'on_remove = "delete": knit does not remove files yet; "keep" is what it does'
        )
    if place.window is not None and place.reload is None:
        raise file.wrong((*path, "window"), "window: needs a reload, which is what waits for it")
    return place


def _probe(file: Document, path: Path, table: Mapping[str, Any], base: Probe | None) -> Probe | None:
    """Each key that is not set is the preset's; an empty table is no probe."""
    values = file.values(path, table, PROBE)
    if not table:
        return None
    given = {key: values[key] for key in table}
    if base is None and "connect" not in given:
        raise file.wrong(path, f"{path[0]}.{path[1]}.probe: connect is missing")
    return Probe(**given) if base is None else replace(base, **given)


def _file(file: Document, path: Path, table: Mapping[str, Any]) -> FileSpec:
    values = file.values(path, table, FILE)
    one = FileSpec(**values)
    if one.content in SECRET and (one.mode or 0) & 0o007:
        raise file.wrong(path, f"{one.path}: mode {one.mode:04o} lets others at the key")
    if (one.content in STORES) is (one.password_file is None):
        said = "password_file is missing" if one.content in STORES else "password_file is for pkcs12 and jks only"
        raise file.wrong(path, f"{one.path}: {said}")
    for kind, account, known in (("owner", one.owner, user_id), ("group", one.group, group_id)):
        if account is not None and known(account) is None:
            raise file.wrong(path, f"{one.path}: this machine knows no {kind} called {account!r}")
    return one


def _check_files(file: Document, place: Place, takes: list[Take]) -> None:
    """What a path has to be, given what goes there."""
    path: Path = ("place", place.name, "files")
    for one in place.files:
        try:
            sample = target(one.path.replace(NAME, SAMPLE))
        except Refused as error:
            raise file.wrong(path, f"{one.path}: {error}") from None
        if any(len(part.encode()) > LONGEST_PART for part in sample.split("/")):
            raise file.wrong(path, f"{one.path[:60]}…: a part of it has more than {LONGEST_PART} bytes")
        if NAME not in one.path and not takes_one(takes):
            raise file.wrong(path, f"{one.path}: more than one certificate may come here; say {NAME} in it")
    twice = _twice(one.path for one in place.files)
    if twice is not None:
        raise file.wrong(path, f"{twice}: two files of one place")
    _check_folders(file, place)


def _check_folders(file: Document, place: Place) -> None:
    path: Path = ("place", place.name)
    folders = [one.path.rpartition("/")[0] for one in place.files]
    if place.layout is Layout.PAIR:
        for folder in folders:
            if NAME in folder:
                raise file.wrong((*path, "files"), f'{folder}: {NAME} in a folder\'s name is for layout = "flip"')
    elif not place.files:
        raise file.wrong((*path, "layout"), 'layout = "flip": needs files')
    elif len(set(folders)) > 1 or NAME in folders[0].rpartition("/")[0] or folders[0].count("/") < 2:
        raise file.wrong(
            (*path, "files"), f'layout = "flip": all files are in one folder, which alone has {NAME} in its name'
        )
    elif any(NAME in one.path for one in place.files) and NAME not in folders[0]:
        raise file.wrong(
            (*path, "files"), f'layout = "flip": {folders[0]}: the folder is one certificate\'s; say {NAME}'
        )


def _twice(paths: Iterator[str]) -> str | None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return None


def _check_shared(file: Document, places: Mapping[str, Place]) -> None:
    """Raise Misconfigured where two places write one file, or may."""
    claims = [(claim, place.name) for place in places.values() for claim in _claims(place)]
    for number, (claim, owner) in enumerate(claims):
        for earlier, other in claims[:number]:
            if other != owner and (_may_be(claim, earlier) or _may_be(earlier, claim)):
                path: Path = ("place", owner, "files")
                raise file.wrong(path, f"{claim}: place.{other} has {earlier}, which may be the same file or folder")


def _claims(place: Place) -> list[str]:
    """The paths that nothing else may have: of files, or of the folder that is replaced as a whole."""
    folders = {one.path.rpartition("/")[0] for one in place.files}
    return sorted(folders) if place.layout is Layout.FLIP else [one.path for one in place.files]


def _may_be(path: str, pattern: str) -> bool:
    """Whether a certificate's name in the pattern may make this path of it, or the path of a folder of this file."""
    any_name = f"(?:[a-z0-9_.-]+|{re.escape(NAME)})"
    return re.match(any_name.join(map(re.escape, pattern.split(NAME))) + "(/|$)", path) is not None
