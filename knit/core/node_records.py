"""What programs and people are told of a node file: the records of `knit config check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from knit.core.model.places import FileSpec, NodeFile, Place, Take
from knit.core.windows import opening, written


def of_node(node: NodeFile, *, roots: Sequence[str] | None, now: datetime) -> dict[str, object]:
    """What a node takes, and what it does at each place. `roots` are those that values' own paths are held against."""
    return {
        "name": node.name,
        "takes": [of_take(take) for take in node.takes],
        "places": [of_place(place, roots=roots, now=now) for place in node.places.values()],
    }


def of_take(take: Take) -> dict[str, object]:
    """Which certificates go to which place."""
    return {"keys": take.keys, "names": take.names, "place": take.place}


def of_place(place: Place, *, roots: Sequence[str] | None, now: datetime) -> dict[str, object]:
    """What is written where, what is run, and when the place may be reloaded: now, where `opens` is not later."""
    begin, end = (None, None) if place.window is None else opening(place.window, now)
    return {
        "name": place.name,
        "preset": place.preset,
        "files": [of_file(one) for one in place.files],
        "own_paths": not place.files,
        "own_paths_below": None if place.files else roots,
        "layout": place.layout,
        "create_dirs": place.create_dirs,
        "check": place.check,
        "reload": place.reload,
        "probe": None if place.probe is None else asdict(place.probe),
        "window": None if place.window is None else written(place.window),
        "opens": begin,
        "closes": end,
        "on_remove": place.on_remove,
    }


def of_file(one: FileSpec) -> dict[str, object]:
    """A file; what is None stays as it is on disk."""
    return asdict(one) | {"mode": None if one.mode is None else f"{one.mode:04o}"}
