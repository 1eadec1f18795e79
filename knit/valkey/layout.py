"""Names of all keys in the certificate Valkey, in one place for publisher and node.

Everything knit adds sits beside the index, under the index key's own name, so that two installations with
different `KNIT_INDEX_KEY` never meet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Key names derived from the index key.

    The feed: `revision` holds a number that only grows, also across a lost or restored Valkey, because it is
    never less than the server's clock in microseconds; `revisions` is a sorted set of valkey_key by the revision
    of its last change (below 2**53, so exact as a score); `channel` carries each new revision as a hint.
    """

    index: str = "knit:index"

    @property
    def revision(self) -> str:
        """Counter key of the change feed."""
        return f"{self.index}:revision"

    @property
    def revisions(self) -> str:
        """Sorted set: valkey_key by revision."""
        return f"{self.index}:revisions"

    @property
    def channel(self) -> str:
        """Pub/sub channel of the change feed."""
        return f"{self.index}:changed"

    @property
    def installation(self) -> str:
        """Holds the id of the installation whose values these are."""
        return f"{self.index}:installation"

    @property
    def probe(self) -> str:
        """A key that is written and removed again to see whether writing is possible."""
        return f"{self.index}:probe"

    def report(self, name: str) -> str:
        """Where the node of this name reports what it has."""
        return f"{self.reports}{name}"

    @property
    def reports(self) -> str:
        """What the keys of all nodes' reports begin with."""
        return f"{self.index}:report:"

    def staging(self, attempt_id: int, installation: str) -> str:
        """Where one attempt's key and chain wait: two databases number their attempts alike."""
        return f"{self.index}:staging:{installation}:{attempt_id}"

    def copy(self, revocation_id: int, installation: str) -> str:
        """Where a published value is kept until its certificate is revoked."""
        return f"{self.index}:revoking:{installation}:{revocation_id}"

    def old_staging(self, attempt_id: int) -> str:
        """Where a knit that knew no installations left them."""
        return f"{self.index}:staging:{attempt_id}"

    def reserved(self, key: str) -> bool:
        """Whether a certificate may not be published under this key."""
        return key == self.index or key.startswith(f"{self.index}:")
