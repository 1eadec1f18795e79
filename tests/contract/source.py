"""What every source of a node's values must keep to: its test inherits this, and says how something is published."""

from __future__ import annotations

from abc import ABC, abstractmethod

from knit.errors import Elsewhere, KnitError
from knit.ports.source import Source

VALUES = {f"cert:{name}": f"value of {name}".encode() for name in "abc"}
LARGE = b"x" * (257 * 1024)


class Centre(ABC):
    """The side that publishes."""

    @abstractmethod
    def publish(self, values: dict[str, bytes]) -> None: ...
    @abstractmethod
    def prune(self, key: str) -> None: ...
    @abstractmethod
    def spoil(self, key: str) -> None:
        """Put something that is no value under this key, which stays published."""

    @abstractmethod
    def keep_from_the_node(self, key: str) -> None:
        """Publish this key's value for other nodes only."""


class SourceContract:
    """The fixtures `source` and `centre` are the implementation's, with nothing published yet."""

    def test_where_nothing_is_published_there_is_nothing(self, source: Source) -> None:
        assert source.revision() is None
        assert source.index() == set()
        assert source.values([]) == {}
        assert source.values(["cert:a"]) == {}

    def test_what_is_published_is_there_byte_for_byte(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        assert source.index() == VALUES.keys()
        assert source.values([*VALUES, "cert:absent"]) == VALUES
        assert source.values(["cert:b"]) == {"cert:b": VALUES["cert:b"]}

    def test_the_revision_grows_and_tells_what_has_changed_since(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        before = source.revision()
        assert before is not None
        assert source.changed(before) == set()
        assert source.changed(before - 1) == VALUES.keys()
        centre.publish({"cert:b": b"another"})
        after = source.revision()
        assert after is not None
        assert after > before
        assert source.changed(before) == {"cert:b"}
        assert source.values(["cert:b"]) == {"cert:b": b"another"}

    def test_what_is_pruned_is_published_no_longer(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        centre.prune("cert:b")
        assert source.index() == {"cert:a", "cert:c"}
        assert source.values(["cert:a", "cert:b"]) == {"cert:a": VALUES["cert:a"]}

    def test_a_key_without_a_proper_value_spoils_no_other(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        centre.spoil("cert:b")
        found = source.values([*VALUES])
        assert isinstance(found.pop("cert:b"), KnitError)
        assert found == {key: VALUES[key] for key in ("cert:a", "cert:c")}

    def test_what_is_for_other_nodes_is_said_to_be_so(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        centre.keep_from_the_node("cert:b")
        found = source.values([*VALUES])
        assert isinstance(found["cert:b"], Elsewhere)
        assert found["cert:a"] == VALUES["cert:a"]

    def test_of_a_value_beyond_all_sizes_no_more_is_read_than_shows_it(self, source: Source, centre: Centre) -> None:
        centre.publish({"cert:a": LARGE})
        found = source.values(["cert:a"])["cert:a"]
        assert isinstance(found, bytes)
        assert 256 * 1024 < len(found) < len(LARGE)

    def test_a_source_asked_again_answers_again(self, source: Source, centre: Centre) -> None:
        centre.publish(VALUES)
        assert source.index() == source.index()
        assert source.values([*VALUES]) == source.values([*VALUES])
