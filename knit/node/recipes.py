"""Owners, groups and passwords of the places of a node file, as this machine has them.

Names become ids once, at the start. A password is read each time it is used and is kept nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from knit.core.model.places import FileSpec, Place
from knit.core.outputs import STORES, Making, Recipe
from knit.errors import Misconfigured, Transient
from knit.settings.accounts import group_id, user_id

LONGEST = 1024
"""Bytes of a password file."""

_READERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP
"""What nobody may have with a password file: others no look at it, and only its owner a change to it."""


class LocalRecipes:
    """Those of the places of one node file."""

    def __init__(self, places: Iterable[Place]) -> None:
        """Raises Misconfigured for an owner or group that this machine does not have."""
        self._ids = {place.name: [_ids(place, spec) for spec in place.files] for place in places}

    def of(self, place: Place) -> Recipe:
        """What this place makes of a certificate. Raises Transient for a password that cannot be used."""
        ids = self._ids.get(place.name, [])
        makings = [
            Making(owner=owner, group=group, password=_password(spec))
            for spec, (owner, group) in zip(place.files, ids, strict=True)
        ]
        return Recipe(place=place, makings=tuple(makings))


def _ids(place: Place, spec: FileSpec) -> tuple[int | None, int | None]:
    where = f"place {place.name!r}, {spec.path!r}"
    return _id(spec.owner, user_id, f"{where}: owner"), _id(spec.group, group_id, f"{where}: group")


def _id(name: str | None, find: Callable[[str], int | None], what: str) -> int | None:
    found = None if name is None else find(name)
    if name is not None and found is None:
        message = f"{what} {name!r} is not known on this machine"
        raise Misconfigured(message)
    return found


def _password(spec: FileSpec) -> str | None:
    if spec.content not in STORES or spec.password_file is None:
        return None
    path = spec.password_file
    try:
        return _read(path)
    except OSError as error:
        raise Transient(f"password_file {path!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Transient(f"password_file {path!r} {error}") from None


def _read(path: str) -> str:
    """The first line. Raises OSError, and ValueError saying what is wrong with the file."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("is no plain file")
        if about.st_mode & _READERS:
            raise ValueError(
                f"has mode {stat.S_IMODE(about.st_mode):04o}: take it away from others, and writing from its group"
            )
        raw = file.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise ValueError(f"has more than {LONGEST} bytes")
    try:
        password = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    if not password or not password.isprintable():
        raise ValueError("must hold one line, the password" if password else "is empty")
    return password
