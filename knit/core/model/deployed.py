"""How far a certificate has come on a node: what `knit node status` shows, what a node reports, what a centre reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from knit.core.model.certificate import CertId


class Step(StrEnum):
    """The steps of a deployment, in their order."""

    WRITE = "write"
    CHECK = "check"
    RELOAD = "reload"
    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a generation is not served: the step that failed, what was said, and when it is tried again.

    `output` is what the command printed, cut. `rolled_back` says that the files of before are in their places again.
    `generation` is None where the value came from another publisher.
    """

    step: Step
    error: str
    output: str
    at: datetime
    next_try: datetime | None
    rolled_back: bool
    generation: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One certificate on one node: what is in its files, and since when it is written, reloaded and served.

    `serial` and `fingerprint` (SHA-256 of the leaf's DER) are in lower-case hexadecimal digits; None where an earlier
    knit installed it. `reloaded_at` is None until a reload has succeeded after it was written; where the place has
    nothing to reload, it is `written_at`. `served_at` is when the last probe saw this very leaf at `served_on`; None
    where the place has no probe. `waits` says what a step that is due waits for, such as the place's window.
    """

    key: str
    place: str
    name: str
    cert_id: CertId | None
    generation: int | None
    serial: str | None
    fingerprint: str | None
    not_after: datetime
    published_at: datetime | None
    written_at: datetime | None
    reloaded_at: datetime | None
    served_at: datetime | None
    served_on: str | None = None
    probed: bool = False
    waits: str | None = None
    failure: Failure | None = None
    orphaned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a node knows of an installed certificate beside its files: the place it is in, and what its leaf says.

    `name` is a name of the certificate, `key_kind` as `ports.probing.KeyKind`; None where an earlier knit installed it.
    """

    place: str
    name: str | None = None
    serial: str | None = None
    fingerprint: str | None = None
    key_kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an installed certificate has come: as in `Deployed`, which it becomes a part of."""

    leaf: Leaf
    published_at: datetime | None = None
    written_at: datetime | None = None
    reloaded_at: datetime | None = None
    served_at: datetime | None = None
    served_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A step that failed, of all certificates that it failed for.

    `next_try` None: not before something else is published. `rolled_back` as in `Failure`; `tries` counts them.
    """

    step: Step
    error: str
    output: str
    at: datetime
    next_try: datetime | None
    rolled_back: bool
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a certificate is not served. `identity` tells which contents failed: see `Installed.identity`."""

    fault: Fault
    identity: str
    generation: int | None
