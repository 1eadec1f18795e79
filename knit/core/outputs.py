"""The files that a node makes of a certificate: how many, where, with what in them and for whom.

Everything behind this module works with outputs in any number, the first of which holds the key. It relies on this:

- The same pair gives the same bytes each time: a node compares what it would write with the hash of what it has
  written, so a format with a random salt or with the time in it would be written, and reloaded, at every pass.
- This module needs no cryptography: the node's process never loads that library. What has to be parsed or encrypted is
  done in the process that inspects pairs (`node/inspector_child.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from knit.core.model.certificate import Bundle

KEY_MODE = 0o600
CHAIN_MODE = 0o644


class File(NamedTuple):
    """Where an output is, and the most that its rights may be."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file to be written.

    `owner` and `group` are ids; None keeps those of the file that is there, and so does `mode`, which is that of a
    new file and the most that others may do with the one there.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: int | None = None
    group: int | None = None

    @property
    def file(self) -> File:
        """What is remembered of it, once it is written."""
        return File(self.path, self.mode)


def outputs_of(bundle: Bundle, *, cert_path: str, key_path: str) -> tuple[Output, ...]:
    """The files that a published pair is installed as: key, chain."""
    return (
        Output(path=key_path, content=bundle.privkey, mode=KEY_MODE),
        Output(path=cert_path, content=bundle.fullchain, mode=CHAIN_MODE),
    )


def files_at(*paths: str) -> tuple[File, ...]:
    """Files with the modes they usually have: the first holds the key."""
    return tuple(File(path, usual_mode(number)) for number, path in enumerate(paths))


def usual_mode(number: int) -> int:
    """The mode of the output with this number, counted from 0."""
    return CHAIN_MODE if number else KEY_MODE


def bundle_in(contents: Sequence[bytes]) -> Bundle | None:
    """The pair that lies in these files, the other way round; None where a single file holds everything."""
    match contents:
        case [privkey, fullchain, *_]:
            return Bundle(fullchain=fullchain, privkey=privkey)
    return None
