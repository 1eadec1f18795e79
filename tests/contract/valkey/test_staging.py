from __future__ import annotations

import pytest

from knit.core.model.attempt import AttemptId
from knit.core.model.certificate import Bundle
from knit.valkey.connect import Link
from knit.valkey.layout import Layout
from knit.valkey.publication import ValkeyPublication
from knit.valkey.staging import ValkeyStaging

ONE, TWO = AttemptId(1), AttemptId(2)
KEY = Bundle(fullchain=b"", privkey=b"key\n")
WHOLE = Bundle(fullchain=b"chain\xff", privkey=b"key\n")


@pytest.fixture
def staging(link: Link) -> ValkeyStaging:
    return ValkeyStaging(link, Layout(), "one")


def test_what_was_put_is_got_back(staging: ValkeyStaging) -> None:
    staging.put(ONE, KEY)
    staging.put(TWO, WHOLE)
    assert staging.get(ONE) == KEY
    assert staging.get(TWO) == WHOLE


def test_the_whole_bundle_replaces_the_key_alone(staging: ValkeyStaging) -> None:
    staging.put(ONE, KEY)
    staging.put(ONE, WHOLE)
    assert staging.get(ONE) == WHOLE


def test_what_was_never_put_or_is_discarded_is_none(staging: ValkeyStaging) -> None:
    staging.put(ONE, KEY)
    staging.put(TWO, KEY)
    staging.discard([ONE])
    staging.discard([ONE])
    staging.discard([])
    assert staging.get(ONE) is None
    assert staging.get(TWO) == KEY


def test_many_are_got_back_together_but_keys_alone_are_not(staging: ValkeyStaging, link: Link) -> None:
    staging.put(ONE, KEY)
    staging.put(TWO, WHOLE)
    staging.put(AttemptId(3), WHOLE)
    assert staging.bundles([ONE, TWO, AttemptId(3), AttemptId(4)]) == {TWO: WHOLE, AttemptId(3): WHOLE}
    assert staging.bundles([]) == {}


def test_what_is_no_bundle_of_ours_hides_none_of_the_others_and_fits_nothing(
    staging: ValkeyStaging, link: Link
) -> None:
    link.client.set(Layout().staging(ONE, "one"), "of another kind")
    staging.put(TWO, WHOLE)
    found = staging.bundles([ONE, TWO])
    assert found[TWO] == WHOLE
    assert found[ONE].privkey == b""


def test_staged_bundles_are_not_published_and_never_expire(staging: ValkeyStaging, link: Link) -> None:
    staging.put(ONE, WHOLE)
    assert ValkeyPublication(link, Layout(), "one").survey().members == set()
    assert link.client.ttl(Layout().staging(ONE, "one")) == -1


def test_two_installations_number_their_attempts_alike_and_never_meet(staging: ValkeyStaging, link: Link) -> None:
    other = ValkeyStaging(link, Layout(), "other")
    staging.put(ONE, WHOLE)
    other.put(ONE, KEY)
    assert (staging.get(ONE), other.get(ONE)) == (WHOLE, KEY)
    other.discard([ONE])
    assert staging.bundles([ONE]) == {ONE: WHOLE}


def test_what_an_earlier_knit_staged_is_found_and_forgotten_under_its_old_name(
    staging: ValkeyStaging, link: Link
) -> None:
    for attempt, bundle in ((ONE, WHOLE), (TWO, KEY)):
        fields = [b"privkey", bundle.privkey, b"fullchain", bundle.fullchain]
        link.client.hset(Layout().old_staging(attempt), items=fields)
    assert staging.get(TWO) == KEY
    assert staging.bundles([ONE, TWO]) == {ONE: WHOLE}
    staging.discard([ONE, TWO])
    assert link.client.keys("*staging*") == []
