"""Where a challenge name really lives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from knit.dns.delegation import HOPS, DnsDelegation
from knit.errors import Refused, Unreachable
from rig.dns_world import World
from tests.integration.dns.conftest import challenge

Make = Callable[..., DnsDelegation]

BOTH_WAYS = pytest.mark.parametrize("recursive_check", [True, False], ids=["own servers", "resolvers"])


@BOTH_WAYS
def test_a_name_without_cname_is_in_the_zone_above_it(world: World, delegation: Make, *, recursive_check: bool) -> None:
    world.zone("example.org")
    record = delegation(recursive_check=recursive_check).locate(challenge("a.b.example.org"))
    assert (record.fqdn, record.zone) == ("_acme-challenge.a.b.example.org", "example.org")


@BOTH_WAYS
def test_a_chain_is_followed_to_its_end(world: World, delegation: Make, *, recursive_check: bool) -> None:
    world.zone("example.org").add("_acme-challenge.example.org", "CNAME", "x.middle.test.")
    world.zone("middle.test", "127.0.0.3").add("x.middle.test", "CNAME", "y.acme.end.test.")
    world.zone("end.test", "127.0.0.4")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("y.acme.end.test", "end.test")


@BOTH_WAYS
def test_the_challenge_name_may_be_a_zone_of_its_own(world: World, delegation: Make, *, recursive_check: bool) -> None:
    parent = world.zone("example.org")
    parent.add("_acme-challenge.example.org", "NS", "ns1._acme-challenge.example.org.")
    world.zone("_acme-challenge.example.org", "127.0.0.3")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("_acme-challenge.example.org", "_acme-challenge.example.org")


@BOTH_WAYS
def test_a_loop_is_refused_and_shown(world: World, delegation: Make, *, recursive_check: bool) -> None:
    zone = world.zone("example.org")
    zone.add("_acme-challenge.example.org", "CNAME", "b.example.org.")
    zone.add("b.example.org", "CNAME", "_acme-challenge.example.org.")
    with pytest.raises(Refused, match=r"loops: _acme-challenge\.example\.org -> b\.example\.org -> _acme"):
        delegation(recursive_check=recursive_check).locate(challenge("example.org"))


@pytest.mark.parametrize("extra", [0, 1])
def test_a_chain_may_be_as_long_as_the_ca_follows_and_no_longer(world: World, delegation: Make, extra: int) -> None:
    zone = world.zone("example.org")
    names = ["_acme-challenge.example.org", *(f"hop{number}.example.org" for number in range(HOPS + extra))]
    for name, target in pairwise(names):
        zone.add(name, "CNAME", f"{target}.")
    if extra:
        with pytest.raises(Refused, match=f"longer than {HOPS}"):
            delegation().locate(challenge("example.org"))
    else:
        assert delegation().locate(challenge("example.org")).fqdn == names[-1]


def test_cnames_are_left_alone_when_switched_off(world: World, delegation: Make) -> None:
    world.zone("example.org").add("_acme-challenge.example.org", "CNAME", "x.end.test.")
    record = delegation(follow_cname=False).locate(challenge("example.org"))
    assert record.fqdn == "_acme-challenge.example.org"
    assert record.zone == "example.org"


def test_a_resolver_never_hears_the_challenge_name_before_it_is_set(world: World, delegation: Make) -> None:
    """It would remember for an hour that there is no such name."""
    world.zone("example.org", negative=3600)
    delegation().locate(challenge("www.example.org"))
    assert not any(question.startswith("_acme-challenge") for question in world.resolver.questions)


def test_silent_name_servers_leave_the_question_to_the_resolvers(world: World, delegation: Make) -> None:
    world.zone("example.org")
    world.server("127.0.0.2").override = lambda _, __: None
    assert delegation().locate(challenge("example.org")).zone == "example.org"


def test_a_dead_resolver_is_unreachable_and_named(world: World, delegation: Make) -> None:
    world.zone("example.org")
    world.resolver.override = lambda _, __: None
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+: no answer in time"):
        delegation().locate(challenge("example.org"))


def test_a_name_in_no_zone_says_so(world: World, delegation: Make) -> None:
    world.zone("example.org")
    with pytest.raises(Refused, match="is in no zone"):
        delegation().locate(challenge("nowhere.test"))


@BOTH_WAYS
def test_a_cname_that_is_there_only_by_a_wildcard_is_none(
    world: World, delegation: Make, *, recursive_check: bool
) -> None:
    """What is set at the challenge's own name goes before the wildcard, and the CA finds it there."""
    world.zone("example.org").add("*.example.org", "CNAME", "www.hosts.test.")
    world.zone("hosts.test", "127.0.0.3").add("www.hosts.test", "A", "127.0.0.9")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("_acme-challenge.example.org", "example.org")


@BOTH_WAYS
def test_a_wildcard_that_leads_to_its_own_zone_is_not_followed_either(
    world: World, delegation: Make, *, recursive_check: bool
) -> None:
    """There the value would stand among the TXT records of the domain itself."""
    world.zone("example.org").add("*.example.org", "CNAME", "example.org.")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("_acme-challenge.example.org", "example.org")


@BOTH_WAYS
def test_a_cname_of_its_own_is_followed_beside_a_wildcard(
    world: World, delegation: Make, *, recursive_check: bool
) -> None:
    zone = world.zone("example.org")
    zone.add("*.example.org", "CNAME", "www.hosts.test.")
    zone.add("_acme-challenge.example.org", "CNAME", "x.acme.test.")
    world.zone("acme.test", "127.0.0.3")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("x.acme.test", "acme.test")


@BOTH_WAYS
def test_a_wildcard_behind_a_cname_of_its_own_is_followed(
    world: World, delegation: Make, *, recursive_check: bool
) -> None:
    """Whoever delegates all challenges to one place may well do it by a wildcard there."""
    world.zone("example.org").add("_acme-challenge.example.org", "CNAME", "example.org.acme.test.")
    world.zone("acme.test", "127.0.0.3").add("*.acme.test", "CNAME", "all.end.test.")
    world.zone("end.test", "127.0.0.4")
    record = delegation(recursive_check=recursive_check).locate(challenge("example.org"))
    assert (record.fqdn, record.zone) == ("all.end.test", "end.test")
