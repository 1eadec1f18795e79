"""Users and groups that this machine knows, by name or number."""

from __future__ import annotations

import grp
import pwd

LARGEST = (1 << 32) - 2
"""The largest id; the one above it means none."""


def user_id(name: str) -> int | None:
    """The id of the user; a number stands for itself, whether or not a user has it. None: there is no such user."""
    if name.isascii() and name.isdigit():
        return _number(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    """The id of the group, as `user_id`."""
    if name.isascii() and name.isdigit():
        return _number(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _number(text: str) -> int | None:
    return int(text) if len(text) <= len(str(LARGEST)) and int(text) <= LARGEST else None
