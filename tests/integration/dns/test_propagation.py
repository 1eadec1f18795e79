"""When a record counts as visible, and what is said when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dns.message
import dns.rcode
import pytest

from knit.core.model.challenge import Record
from knit.dns import visibility
from knit.dns.delegation import DnsDelegation, Looking
from knit.errors import Interrupted, NotVisible
from rig.dns_world import World, Zone
from tests.integration.dns.conftest import challenge

Make = Callable[..., DnsDelegation]
NAME = "_acme-challenge.example.org"
RECORD = Record(challenge=challenge("example.org"), fqdn=NAME, zone="example.org")


def wait(delegation: DnsDelegation, timeout: float = 0.6) -> float:
    """Seconds until it was visible."""
    started = time.monotonic()
    delegation.wait_visible([RECORD], timeout=timeout, interval=0.1)
    return time.monotonic() - started


def assert_seen_at_first_sight(delegation: DnsDelegation) -> None:
    paused: list[float] = []
    delegation._sleep = paused.append
    wait(delegation)
    assert [pause for pause in paused if pause] == [visibility._FIRST_PAUSE], "nothing is looked at twice"


def test_a_record_on_every_server_is_visible_at_once(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3").add(NAME, "TXT", '"wanted"', '"another"')
    assert_seen_at_first_sight(delegation())


def test_two_values_at_one_name_are_both_looked_for(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    second = Record(challenge=challenge("example.org", "second"), fqdn=NAME, zone="example.org")
    with pytest.raises(NotVisible, match=r"shows 1 other value"):
        delegation().wait_visible([RECORD, second], timeout=0.3, interval=0.1)


def test_one_lagging_server_of_three_is_waited_for(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3", "127.0.0.4").add(NAME, "TXT", '"wanted"')
    lagging = Zone(name="example.org")
    world.server("127.0.0.4").zones["example.org"] = lagging
    threading.Timer(0.4, lambda: lagging.add(NAME, "TXT", '"wanted"')).start()
    assert 0.4 <= wait(delegation(), timeout=5) < 2


def test_a_server_that_stays_behind_is_named_with_what_it_says(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3").add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.3").zones["example.org"] = Zone(name="example.org")
    with pytest.raises(NotVisible) as caught:
        wait(delegation())
    assert "ns2.example.org (127.0.0.3" in str(caught.value)
    assert "ns1" not in str(caught.value)
    assert "no such name" in str(caught.value)


def test_a_lame_server_is_named(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3").add(NAME, "TXT", '"wanted"')
    del world.server("127.0.0.3").zones["example.org"]
    with pytest.raises(NotVisible, match=r"ns2\.example\.org \(127\.0\.0\.3:\d+\) answers REFUSED"):
        wait(delegation())


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"garbage", b"\xff" * 600])
def test_garbage_counts_as_no_answer(world: World, delegation: Make, garbage: bytes) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3").add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.3").override = lambda _, __: garbage
    with pytest.raises(NotVisible, match=r"ns2.*(no answer in time|broken answer)"):
        wait(delegation())


def test_a_check_that_cannot_run_says_what_to_set(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.2").override = lambda _, __: None
    with pytest.raises(NotVisible, match=r"can be reached.*KNIT_DNS_PROPAGATION_WAIT"):
        wait(delegation())


def test_missing_glue_is_told(world: World, delegation: Make) -> None:
    zone = world.zone("example.org")
    del zone.records["ns1.example.org", "A"]
    with pytest.raises(NotVisible, match=r"no name server of example\.org has an address"):
        wait(delegation())


def test_an_answer_too_long_for_udp_is_read_by_tcp(world: World, delegation: Make) -> None:
    others = [f'"{number:0>200}"' for number in range(20)]
    world.zone("example.org").add(NAME, "TXT", *others, '"wanted"')
    assert wait(delegation()) < 0.5


def test_a_value_in_several_strings_is_joined(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wan" "ted"')
    assert_seen_at_first_sight(delegation())


def test_a_resolver_that_will_soon_forget_is_waited_for(world: World, delegation: Make) -> None:
    zone = world.zone("example.org", negative=1)
    look = delegation()
    look.resolve(NAME, "TXT")
    zone.add(NAME, "TXT", '"wanted"')
    assert 0.5 < wait(look, timeout=5) < 3


def test_a_resolver_that_remembers_too_long_is_not_waited_for(
    world: World, delegation: Make, caplog: pytest.LogCaptureFixture
) -> None:
    zone = world.zone("example.org", negative=3600)
    look = delegation()
    look.resolve(NAME, "TXT")
    zone.add(NAME, "TXT", '"wanted"')
    assert wait(look, timeout=2) < 1
    assert "resolver keeps an old answer, not waiting for it" in caplog.messages


def servfail(query: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message:
    if "TXT" in str(query.question[0]):
        answer.set_rcode(dns.rcode.SERVFAIL)
        answer.answer.clear()
    return answer


def test_a_resolver_that_cannot_resolve_fails_the_check_and_is_named(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    world.resolver.override = servfail
    with pytest.raises(NotVisible, match=r"resolver 127\.0\.0\.1.*SERVFAIL.*DNSSEC.*KNIT_DNS_DISABLE_RECURSIVE_CHECK"):
        wait(delegation())


def test_resolvers_are_not_asked_when_switched_off(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    world.resolver.override = servfail
    assert wait(delegation(recursive_check=False)) < 0.3


def test_resolvers_are_asked_only_after_the_zone_s_own_servers_agree(world: World, delegation: Make) -> None:
    world.zone("example.org")
    with pytest.raises(NotVisible):
        wait(delegation())
    assert f"{NAME} TXT" not in world.resolver.questions


def test_a_fixed_wait_replaces_the_check(world: World, delegation: Make) -> None:
    assert 0.2 <= wait(delegation(wait=0.2)) < 0.6
    assert world.resolver.questions == []


def test_an_address_family_that_leads_nowhere_is_left_out(world: World, delegation: Make) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    world.truth["example.org"].add("ns1.example.org", "AAAA", "::1")
    assert wait(delegation()) < 1


def test_a_stop_is_noticed_between_two_dead_servers(world: World, delegation: Make) -> None:
    world.zone("example.org", *(f"127.0.0.{number}" for number in range(2, 12)))
    for server in world.servers.values():
        server.override = lambda _, __: None
    asked = threading.Event()

    def sleep(_: float) -> None:
        if asked.is_set():
            raise Interrupted("stopping")

    threading.Timer(0.7, asked.set).start()
    looking = Looking(resolvers=(f"127.0.0.1:{world.port}",), timeout=0.5, authority_port=world.port)
    started = time.monotonic()
    with pytest.raises(Interrupted):
        wait(DnsDelegation(looking, sleep), timeout=60)
    assert time.monotonic() - started < 15


def test_the_last_look_is_at_the_deadline(world: World, delegation: Make) -> None:
    """However long the provider's interval is."""
    zone = world.zone("example.org")
    threading.Timer(0.8, lambda: zone.add(NAME, "TXT", '"wanted"')).start()
    delegation().wait_visible([RECORD], timeout=1.5, interval=60)


def test_a_record_is_gone_when_every_server_says_so_and_not_before(world: World, delegation: Make) -> None:
    zone = world.zone("example.org", "127.0.0.2", "127.0.0.3")
    zone.add(NAME, "TXT", '"another"')
    assert delegation().is_gone(RECORD)
    lagging = Zone(name="example.org")
    lagging.add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.3").zones["example.org"] = lagging
    assert not delegation().is_gone(RECORD)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, None])
def test_a_record_is_not_gone_while_a_server_cannot_tell(
    world: World, delegation: Make, rcode: dns.rcode.Rcode | None
) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3")

    def broken(_: dns.message.QueryMessage, answer: dns.message.Message) -> dns.message.Message | None:
        if rcode is None:
            return None
        answer.set_rcode(rcode)
        return answer

    world.server("127.0.0.3").override = broken
    assert not delegation().is_gone(RECORD)


def test_a_record_in_a_zone_without_servers_is_not_gone(delegation: Make) -> None:
    assert not delegation().is_gone(RECORD)
