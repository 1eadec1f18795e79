"""The state machines of RFC 8555 section 7.1.6."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rig.scripted_ca import states
from rig.scripted_ca.problems import Refusal
from rig.scripted_ca.states import Authz, Challenge, Order, Status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
NO = {"type": "urn:ietf:params:acme:error:dns", "detail": "no"}
CHALLENGES = tuple(Challenge(id=kind, type=kind, token="t") for kind in ("dns-01", "http-01"))
AUTHZ = Authz(id="z", account="a", name="n", wildcard=False, expires=LATER, order_names=("n",), challenges=CHALLENGES)
ORDER = Order(id="o", account="a", names=("n",), authzs=("z",), expires=LATER)


def test_a_validated_authorization_lists_only_the_challenge_that_proved_it() -> None:
    proved = states.proved(states.attempted(AUTHZ, "dns-01"), "dns-01", NOW)

    assert proved.status is Status.VALID
    assert [(item.id, item.status, item.validated) for item in proved.challenges] == [("dns-01", Status.VALID, NOW)]


def test_a_failed_challenge_fails_its_authorization() -> None:
    failed = states.disproved(states.attempted(AUTHZ, "dns-01"), "dns-01", NO)

    assert (failed.status, failed.challenges[0].error) == (Status.INVALID, NO)


def test_a_validation_that_ends_after_deactivation_changes_nothing() -> None:
    given_up = states.deactivated(states.attempted(AUTHZ, "dns-01"))

    assert states.proved(given_up, "dns-01", NOW) == given_up


@pytest.mark.parametrize("status", [Status.VALID, Status.INVALID, Status.DEACTIVATED, Status.EXPIRED])
def test_a_settled_authorization_is_not_attempted_again(status: Status) -> None:
    with pytest.raises(Refusal, match="Cannot update challenge"):
        states.attempted(replace(AUTHZ, status=status), "dns-01")


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (Status.PENDING, Status.INVALID),
        (Status.VALID, Status.EXPIRED),
        (Status.INVALID, Status.INVALID),
        (Status.DEACTIVATED, Status.DEACTIVATED),
    ],
)
def test_time_passes_over_authorizations(status: Status, after: Status) -> None:
    assert states.aged(replace(AUTHZ, status=status), LATER).status is after
    assert states.aged(replace(AUTHZ, status=status), NOW).status is status


@pytest.mark.parametrize(
    ("authz_statuses", "after"),
    [
        ((Status.VALID, Status.VALID), Status.READY),
        ((Status.VALID, Status.PENDING), Status.PENDING),
        ((Status.VALID, Status.INVALID), Status.INVALID),
        ((Status.VALID, Status.DEACTIVATED), Status.INVALID),
        ((Status.VALID, Status.EXPIRED), Status.INVALID),
    ],
)
def test_an_order_follows_its_authorizations(authz_statuses: tuple[Status, ...], after: Status) -> None:
    authzs = [replace(AUTHZ, status=status) for status in authz_statuses]

    assert states.advanced(ORDER, authzs, NOW).status is after


@pytest.mark.parametrize("status", [Status.PENDING, Status.READY])
def test_an_order_that_is_not_finalized_in_time_is_invalid(status: Status) -> None:
    assert states.advanced(replace(ORDER, status=status), [AUTHZ], LATER).status is Status.INVALID


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.VALID, Status.INVALID])
def test_a_finalized_order_does_not_go_back(status: Status) -> None:
    order = replace(ORDER, status=status)

    assert states.advanced(order, [replace(AUTHZ, status=Status.INVALID)], LATER) == order


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.VALID, Status.INVALID])
def test_only_a_ready_order_is_finalized(status: Status) -> None:
    with pytest.raises(Refusal, match="orderNotReady"):
        states.finalizing(replace(ORDER, status=status), polls=0)


def test_each_reading_of_a_processing_order_is_counted_down_to_nothing() -> None:
    order = states.finalizing(replace(ORDER, status=Status.READY), polls=1)

    assert states.polled(order).polls_left == 0
    assert states.polled(states.polled(order)).polls_left == 0
