"""Owner, group, mode and access list of a file, as the next one at its place shall have them.

They are the operator's: whoever gave a key to a group meant the next key too. But what a key or a chain may never be,
it never becomes.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace

from knit.core.outputs import Output

_ACCESS_LIST = "system.posix_acl_access"
_NOBODY = 2**32 - 1
"""To the system: leave it as it is."""

_KEPT = (_ACCESS_LIST, "security.selinux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """`uid` or `gid` None: as the file was made. `lists` are extended attributes that decide on access."""

    uid: int | None
    gid: int | None
    mode: int
    lists: dict[str, bytes]

    @classmethod
    def of(cls, folder: int, name: str, about: os.stat_result, default: int) -> Traits:
        """Those of the file that lies there, with its mode made no wider than is good for a file with this default."""
        lists = {}
        with suppress(OSError):
            path = f"/proc/self/fd/{folder}/{name}"
            for attribute in os.listxattr(path, follow_symlinks=False):
                if attribute in _KEPT:
                    lists[attribute] = os.getxattr(path, attribute, follow_symlinks=False)
        mode = _good(about, default, listed=_ACCESS_LIST in lists)
        return cls(uid=about.st_uid, gid=about.st_gid, mode=mode, lists=lists)

    def unusual(self, default: int) -> Traits | None:
        """What of them is to be remembered; None when a new file of this default mode would have them anyway.

        How a file is labelled is left to the system.
        """
        lists = {name: value for name, value in self.lists.items() if name == _ACCESS_LIST}
        if not lists and (self.uid, self.gid, self.mode) == (os.geteuid(), os.getegid(), default):
            return None
        return replace(self, lists=lists)

    def fit(self, default: int) -> Traits:
        """The same for a new file with this default: no wider for others."""
        singled = bool(self.lists) or self.gid != os.getegid()
        return replace(self, mode=narrowed(self.mode, default, singled=singled))

    def to_json(self) -> list[object]:
        """For the node's state log."""
        access = self.lists.get(_ACCESS_LIST)
        return [self.uid, self.gid, self.mode, None if access is None else access.hex()]

    @classmethod
    def from_json(cls, fields: object) -> Traits:
        """The traits from JSON. Raises ValueError for what are not traits."""
        match fields:
            case [int(uid), int(gid), int(mode), str() | None as access] if _are_ids(uid, gid) and 0 <= mode <= 0o777:
                lists = {} if access is None else {_ACCESS_LIST: bytes.fromhex(access)}
                return cls(uid=uid, gid=gid, mode=mode, lists=lists)
        raise ValueError("not the rights of a file")

    @classmethod
    def for_output(cls, output: Output, there: Traits | None) -> Traits | None:
        """What the output says, else those that are there, or were; None: those of any new file of its mode."""
        if output.owner is None and output.group is None and not output.fixed:
            return there
        base = there or cls(uid=None, gid=None, mode=output.mode, lists={})
        return replace(
            base,
            uid=base.uid if output.owner is None else output.owner,
            gid=base.gid if output.group is None else output.group,
            mode=output.mode if output.fixed else base.mode,
        )

    def give(self, opened: int) -> str | None:
        """Give them to this open file; returns what could not be given. Raises OSError."""
        lost = _give_owner(opened, self.uid, self.gid)
        for attribute in _KEPT:
            _give_list(opened, attribute, self.lists.get(attribute))
        # Last, for the others change it.
        os.fchmod(opened, self.mode & ~0o070 if lost == "group" else self.mode)
        return lost


def _are_ids(*numbers: int) -> bool:
    return all(0 <= number < _NOBODY for number in numbers)


def narrowed(mode: int, default: int, *, singled: bool) -> int:
    """The mode with no more for others than the default has.

    A group that is nobody's choice (not `singled` out) loses what only went to it because it went to everybody.
    """
    group, others = (mode >> 3) & 7, mode & 7
    if others & ~default and group == others and not singled:
        group &= default >> 3
    return (mode & 0o700) | (group << 3) | (others & default)


def is_too_wide(about: os.stat_result, default: int) -> bool:
    """Whether others may do more with this file than with one of the default mode."""
    return bool(stat.S_IMODE(about.st_mode) & 7 & ~default)


def narrow(folder: int, name: str, about: os.stat_result, default: int) -> None:
    """Take away what others may do with this file, a plain one, beyond the default. Raises OSError."""
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_ISREG(os.fstat(opened).st_mode):
            os.fchmod(opened, _good(about, default, listed=_ACCESS_LIST in os.listxattr(opened)))
    finally:
        os.close(opened)


def _good(about: os.stat_result, default: int, *, listed: bool) -> int:
    return narrowed(about.st_mode, default, singled=listed or about.st_gid != os.getegid())


def _give_owner(opened: int, uid: int | None, gid: int | None) -> str | None:
    now = os.fstat(opened)
    if gid is not None and now.st_gid != gid:
        try:
            os.fchown(opened, -1, gid)
        except PermissionError:
            return "group"
    if uid is not None and now.st_uid != uid:
        try:
            os.fchown(opened, uid, -1)
        except PermissionError:
            return "owner"
    return None


def _give_list(opened: int, attribute: str, wanted: bytes | None) -> None:
    # File systems without such lists, labels that only the system gives: nothing to keep there.
    with suppress(OSError):
        if wanted is not None:
            os.setxattr(opened, attribute, wanted)
        elif attribute == _ACCESS_LIST:
            os.removexattr(opened, attribute)
