"""What is live beside what is recorded, over a real PostgreSQL and a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from knit.app.listeners import to_log
from knit.flows.values import PORTION, Values
from knit.valkey.connect import connect
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from tests.integration.store.conftest import RULES, Store

MANY = 2 * PORTION + 500


class Counting(ValkeyPublication):
    """Keeps how many values were asked for at once."""

    at_once: list[int]

    def live(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.at_once.append(len(keys))
        return super().live(keys)


@pytest.fixture
def publication(valkey_url: str) -> Iterator[Counting]:
    link = connect(valkey_url, name="test-values")
    link.client.mset({f"k{i}": "no value" for i in range(0, MANY, 2)})
    found = Counting(link, Layout(), "test")
    found.at_once = []
    yield found
    link.close()


def values(store: Store, publication: Counting) -> Values:
    here = {"store": store.passes, "home": store.home, "publication": publication}
    return Values(**here, tell=to_log, rules=RULES, clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]


def test_values_that_are_looked_into_are_in_memory_a_portion_at_a_time(store: Store, publication: Counting) -> None:
    keys = frozenset(f"k{i}" for i in range(MANY))
    assert values(store, publication).find_lost(keys) == keys
    assert publication.at_once == [PORTION, PORTION, 500]


def test_values_found_published_are_adopted_a_portion_at_a_time(store: Store, publication: Counting) -> None:
    store.database.write(
        "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
        "select 'n' || i || '.example.org', 'exec', 'k' || i, '/' || i || '.crt', '/' || i || '.key' "
        "from generate_series(1, %(count)s) i",
        {"count": MANY},
    )
    store.passes.adopt()
    specs = {spec.valkey_key: spec for spec in store.passes.unrecorded()}
    assert len(specs) == MANY
    values(store, publication).adopt(specs)
    assert publication.at_once == [PORTION, PORTION, 500]
