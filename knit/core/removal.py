"""What becomes of the files of a certificate that is no longer published."""

from __future__ import annotations

from knit.core.model.places import OnRemove, Place


def is_removed(*, index_empty: bool, went_back: bool, has_value: bool) -> bool:
    """Whether a key that the index does not name any more was taken away on purpose.

    It was not where the index names nothing at all, where the change feed went back (`went_back`: an older Valkey, or
    one that lost its memory), or where its value is still there: removing a certificate removes both.
    """
    return not (index_empty or went_back or has_value)


def why_kept(place: Place | None, *, removed: bool, served: bool | None) -> str | None:
    """Why its files stay; None: nobody needs them, and they go.

    `place` None: the node file has none for it any more. `served` is what the place's probe found, None where it could
    not be asked or had no answer: a server that is down may come back with these files.
    """
    if place is None or place.on_remove is OnRemove.KEEP:
        return "on_remove is keep"
    if not removed:
        return "it may not have been removed on purpose"
    if place.probe is None:
        return "without a probe of its place nothing shows that it is not served"
    if served is None:
        return "the probe of its place has no answer"
    return "it is still served" if served else None
