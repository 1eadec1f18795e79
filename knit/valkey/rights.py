"""Which right is missing, found out after the server has refused something: its error alone does not always say."""

from __future__ import annotations

from collections.abc import Sequence

from knit.errors import CredentialsRejected, KnitError
from knit.valkey.connect import Link

NOTHING = "return 1"


def forbidden_key(link: Link, keys: Sequence[str]) -> str | None:
    """The first of these keys that a script of ours may not use; None when scripts may not be run at all."""
    try:
        _touch(link)
        return next((key for key in keys if _is_forbidden(link, key)), None)
    except KnitError:
        return None


def _is_forbidden(link: Link, key: str) -> bool:
    try:
        _touch(link, key)
    except CredentialsRejected:
        return True
    return False


def _touch(link: Link, *keys: str) -> None:
    """Run a script that does nothing, under the rights that a script needs on these keys."""
    with link.talking() as client:
        client.evalsha(client.script_load(NOTHING), len(keys), *keys)
