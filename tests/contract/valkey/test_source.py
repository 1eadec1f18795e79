"""A node's source that is Valkey itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from knit.ports.source import Source
from knit.valkey.connect import Link, connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from knit.valkey.reader import ValkeyReader
from rig.valkey import Valkey
from tests.contract.source import VALUES, Centre, SourceContract

LAYOUT = Layout()


class ValkeyCentre(Centre):
    """The node comes as a user of its own, who may read all keys at first."""

    def __init__(self, link: Link) -> None:
        self._client = link.client
        self._publication = ValkeyPublication(link, LAYOUT, "test")
        assert self._publication.claim(None)
        self._let_read("*")

    def publish(self, values: dict[str, bytes]) -> None:
        found = self._publication.look([*values])
        self._publication.publish([(key, value, found[key].token) for key, value in values.items()])

    def prune(self, key: str) -> None:
        self._publication.prune({key: self._publication.look([key])[key].token})

    def spoil(self, key: str) -> None:
        self._client.delete(key)
        self._client.hset(key, "a", "b")

    def keep_from_the_node(self, key: str) -> None:
        self._let_read(f"{LAYOUT.index}*", *(VALUES.keys() - {key}))

    def _let_read(self, *keys: str) -> None:
        self._client.acl_setuser(
            "node", enabled=True, passwords=["+pass"], reset_keys=True, keys=[*keys], categories=["+@all"]
        )


@pytest.fixture
def centre(own_valkey: Valkey) -> Iterator[Centre]:
    link = connect(own_valkey.url, name="knit-test")
    yield ValkeyCentre(link)
    link.close()


@pytest.fixture
def source(own_valkey: Valkey, centre: Centre) -> Iterator[Source]:
    link = connect(own_valkey.url_of(user="node", password="pass"), name="knit-test")
    source = ValkeyReader(link.site, LAYOUT)
    yield source
    source.close()
    link.close()


class TestValkeySource(SourceContract):
    pass
