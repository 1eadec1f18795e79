"""However dead, slow or hostile a zone is, it holds a thread only so long; and what servers answer is asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from knit.core.model.challenge import Record
from knit.dns.delegation import DnsDelegation, Looking
from knit.errors import Interrupted, NotVisible, Unreachable
from rig.dns_world import Answer, World
from tests.integration.dns.conftest import challenge

Make = Callable[..., DnsDelegation]
NAME = "_acme-challenge.example.org"
RECORD = Record(challenge=challenge("example.org"), fqdn=NAME, zone="example.org")
SILENT = [f"127.0.1.{number}" for number in range(1, 31)]


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def silent(_: dns.message.QueryMessage, __: dns.message.Message) -> Answer:
    return None


def failed(query: dns.message.QueryMessage, rcode: dns.rcode.Rcode) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.set_rcode(rcode)
    return answer


def thirty_silent_addresses(world: World) -> None:
    """One name server that answers has 30 more addresses, and none of them does."""
    world.zone("example.org").add("ns1.example.org", "A", *SILENT)
    for host in SILENT:
        world.server(host).override = silent


def names_that_never_resolve(world: World) -> None:
    """The zone has 13 more name servers, and for their names a resolver never has an answer."""
    world.zone("example.org").add("example.org", "NS", *(f"ns.dead{number}.test." for number in range(13)))

    def never(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        return None if "dead" in str(query.question[0].name) else answer

    world.resolver.override = never


def all_silent(world: World) -> None:
    world.zone("example.org", *SILENT[:12])
    for host in SILENT[:12]:
        world.server(host).override = silent


HOSTILE = pytest.mark.parametrize("zone", [thirty_silent_addresses, names_that_never_resolve, all_silent])


@HOSTILE
def test_finding_a_name_s_place_ends_with_its_patience(
    world: World, delegation: Make, zone: Callable[[World], None]
) -> None:
    zone(world)
    assert seconds(lambda: delegation(patience=5).locate(challenge("example.org"))) < 8


@HOSTILE
def test_a_wait_ends_soon_after_only_silence_stands_in_the_way(
    world: World, delegation: Make, zone: Callable[[World], None]
) -> None:
    zone(world)
    world.truth["example.org"].add(NAME, "TXT", '"wanted"')
    look = delegation(silence=1.0, patience=5)

    def wait() -> None:
        try:
            look.wait_visible([RECORD], timeout=60, interval=0.2)
        except NotVisible as e:
            assert "no answer in time" in str(e)

    assert seconds(wait) < 9


def test_a_server_known_to_be_silent_does_not_hold_the_next_certificate(world: World, delegation: Make) -> None:
    all_silent(world)
    look = delegation(silence=1.0)
    with pytest.raises(NotVisible):
        look.wait_visible([RECORD], timeout=60, interval=0.1)
    waited = time.monotonic()
    with pytest.raises(NotVisible):
        look.wait_visible([RECORD], timeout=60, interval=0.1)
    # One look at 12 silent servers, few at once, and no second one.
    assert time.monotonic() - waited < 2.5
    assert seconds(lambda: look.locate(challenge("example.org"))) < 4


def test_a_silent_server_that_is_back_is_waited_for_no_longer(world: World, delegation: Make) -> None:
    world.zone("example.org", "127.0.0.2", "127.0.0.3").add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.3").override = silent

    def back() -> None:
        world.server("127.0.0.3").override = lambda _, answer: answer

    threading.Timer(1, back).start()
    took = seconds(lambda: delegation().wait_visible([RECORD], timeout=60, interval=0.2))
    assert 0.9 < took < 5


def test_a_server_that_lags_is_waited_for_however_long_another_is_silent(world: World, delegation: Make) -> None:
    zone = world.zone("example.org", "127.0.0.2", "127.0.0.3")
    world.server("127.0.0.3").override = silent

    def shown() -> None:
        zone.add(NAME, "TXT", '"wanted"')
        world.server("127.0.0.3").override = lambda _, answer: answer

    threading.Timer(2, shown).start()
    delegation(silence=0.5).wait_visible([RECORD], timeout=60, interval=0.2)


def test_a_wait_is_over_at_its_deadline_however_many_servers_are_left_to_ask(world: World, delegation: Make) -> None:
    thirty_silent_addresses(world)
    with pytest.raises(NotVisible):
        assert seconds(lambda: delegation().wait_visible([RECORD], timeout=0.3, interval=0.1)) < 2


def test_thousands_of_name_servers_are_not_all_asked(world: World, delegation: Make) -> None:
    names = [f"ns{number:04}.many.test" for number in range(1500)]
    zone = world.zone("example.org")
    zone.records["example.org", "NS"] = [f"{name}." for name in names]
    many = world.zone("many.test")
    for name in names:
        many.add(name, "A", *(f"127.0.2.{number}" for number in range(1, 41)))
    found = delegation(timeout=20).name_servers("example.org")
    assert len(found) == 16
    assert all(len(addresses) == 8 for addresses in found.values())


def test_a_stop_is_noticed_while_a_place_is_looked_for(world: World) -> None:
    names_that_never_resolve(world)
    stop = threading.Event()

    def sleep(_: float) -> None:
        if stop.is_set():
            raise Interrupted("stopping")

    looking = Looking(resolvers=(f"127.0.0.1:{world.port}",), timeout=20, authority_port=world.port)
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        DnsDelegation(looking, sleep).locate(challenge("example.org"))
    # The questions on the way end by themselves, each within two seconds.
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("times", [1, 2])
def test_a_passing_servfail_of_the_only_resolver_is_asked_again(world: World, delegation: Make, times: int) -> None:
    world.zone("example.org")
    left = {"times": times}

    def passing(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        left["times"] -= 1
        if left["times"] >= 0:
            return failed(query, dns.rcode.SERVFAIL)
        return answer

    world.resolver.override = passing
    assert delegation(timeout=5).locate(challenge("example.org")).zone == "example.org"


@pytest.mark.parametrize("recursive_check", [True, False], ids=["own servers", "resolvers"])
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
def test_an_error_for_names_below_an_apex_does_not_hide_the_zone(
    world: World, delegation: Make, rcode: dns.rcode.Rcode, *, recursive_check: bool
) -> None:
    world.zone("example.org")

    def only_the_apex(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        question = query.question[0]
        if question.rdtype == dns.rdatatype.SOA and question.name.to_text() != "example.org.":
            return failed(query, rcode)
        if question.rdtype == dns.rdatatype.CNAME:
            answer.authority = []
        return answer

    world.resolver.override = only_the_apex
    found = delegation(timeout=5, recursive_check=recursive_check).locate(challenge("a.b.example.org"))
    assert found.zone == "example.org"


def test_a_domain_that_only_fails_is_not_taken_for_a_name_of_its_top_level_domain(
    world: World, delegation: Make
) -> None:
    world.zone("org")

    def broken(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        if query.question[0].name.to_text() != "org.":
            return failed(query, dns.rcode.SERVFAIL)
        return answer

    world.resolver.override = broken
    with pytest.raises(Unreachable, match="SERVFAIL"):
        delegation(timeout=5, recursive_check=False).locate(challenge("example.org"))


def as_they_were(rcode: dns.rcode.Rcode, *, bare: bool) -> Callable[..., Answer]:
    """Knows no EDNS: answers such questions with an error, with their header alone or with the question, too."""

    def override(query: dns.message.QueryMessage, answer: dns.message.Message) -> Answer:
        if query.edns < 0:
            return answer
        refusal = dns.message.Message(id=query.id)
        refusal.flags = dns.flags.QR
        refusal.set_opcode(dns.opcode.QUERY)
        if not bare:
            refusal.question = query.question
        if rcode is dns.rcode.BADVERS:
            # Knows another version of it, which it says by it.
            refusal.use_edns(0)
        refusal.set_rcode(rcode)
        return refusal

    return override


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.SERVFAIL, dns.rcode.BADVERS])
def test_servers_that_know_no_edns_are_asked_without(
    world: World, delegation: Make, rcode: dns.rcode.Rcode, *, bare: bool
) -> None:
    world.zone("example.org").add(NAME, "TXT", '"wanted"')
    world.server("127.0.0.2").override = as_they_were(rcode, bare=bare)
    world.resolver.override = as_they_were(rcode, bare=bare)
    look = delegation()
    assert look.locate(challenge("example.org")).zone == "example.org"
    look.wait_visible([RECORD], timeout=2, interval=0.1)
