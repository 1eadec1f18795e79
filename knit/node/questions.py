"""What the process that looks into pairs is asked, and its answers: the lines of JSON between it and the node's own."""

from __future__ import annotations

import base64
from typing import Any

from knit.core.model.certificate import Bundle
from knit.core.model.places import Content
from knit.core.outputs import Seal
from knit.core.readable import inspect
from knit.core.stores import made, opens


def answer(question: dict[str, Any]) -> dict[str, object]:
    """The facts of a pair; with a seal its key store, or whether a `store` opens. Raises ValueError for no pair."""
    if "store" in question:
        return {"opens": opens(base64.b64decode(question["store"]), _seal(question))}
    # Latin-1 carries any bytes through JSON.
    bundle = Bundle(
        fullchain=question["fullchain"].encode("latin-1"),
        privkey=question["privkey"].encode("latin-1"),
    )
    facts = inspect(bundle.fullchain, bundle.privkey)
    if "format" not in question:
        return facts
    return {"store": base64.b64encode(made(bundle, _seal(question))).decode()}


def _seal(question: dict[str, Any]) -> Seal:
    return Seal(content=Content(question["format"]), password=question["password"], alias=question["alias"])
