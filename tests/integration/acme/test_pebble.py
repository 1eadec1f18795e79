"""The issuer against Let's Encrypt's test CA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509 as certificates

from knit.core.model.account import Account
from knit.core.model.keys import KeyType
from knit.core.x509 import CertKey
from knit.errors import CredentialsRejected, IdentifierRejected, Interrupted, Misconfigured, Refused, Unreachable
from knit.issuers.acme import AccountOwner
from rig.challtestsrv import ChallTestSrv
from rig.pebble import Pebble, PebbleOptions
from tests.fix_rig import running
from tests.integration.acme.parties import Memory, Notes, Place, TrustingProver, TxtProver, Wanted, Worker

EAB = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")


@pytest.fixture
def quick(challtestsrv: ChallTestSrv) -> Iterator[Pebble]:
    """A CA that asks for no waiting."""
    options = PebbleOptions(dns_server=challtestsrv.address, retry_after_authz=0, retry_after_order=0)
    yield from guarded(options)


def guarded(options: PebbleOptions) -> Iterator[Pebble]:
    for server in running(lambda: Pebble(options)):
        yield server
        server.raise_if_wedged()


@pytest.fixture
def prover(challtestsrv: ChallTestSrv) -> TxtProver:
    return TxtProver(challtestsrv)


def test_a_wildcard_and_its_apex_are_issued_with_two_values_at_one_name(quick: Pebble, prover: TxtProver) -> None:
    wanted, notes = Wanted(names=("knit.example", "*.knit.example")), Notes()
    chain = Worker(quick).issue(wanted, notes, prover)
    assert wanted.check(chain).names == {"knit.example", "*.knit.example"}
    assert [challenge.name for challenge in prover.proved] == ["_acme-challenge.knit.example"] * 2
    assert len({challenge.value for challenge in prover.proved}) == 2
    assert notes.steps == ["ordered", "finalizing"]


@pytest.mark.parametrize("percent", [5, 50])
def test_rejected_nonces_only_cost_more_requests(challtestsrv: ChallTestSrv, prover: TxtProver, percent: int) -> None:
    options = PebbleOptions(
        dns_server=challtestsrv.address, nonce_reject_percent=percent, retry_after_authz=0, retry_after_order=0
    )
    for ca in guarded(options):
        with closing(Worker(ca).issuer) as acme:
            for number in range(20):
                wanted = Wanted(names=(f"n{number}.knit.example",))
                wanted.check(acme.issue(wanted.request(), Notes(), prover))
        assert len(ca.finalized()) == len(ca.orders()) == 20


@pytest.mark.parametrize("step", ["ordered", "finalizing"])
def test_a_process_stopped_at_any_step_goes_on_with_the_same_order(quick: Pebble, prover: TxtProver, step: str) -> None:
    wanted, memory, notes = Wanted(names=("knit.example",)), Memory(), Notes(stop_at=step)
    with pytest.raises(Interrupted):
        Worker(quick, memory).issue(wanted, notes, prover)
    later = Notes()
    next_worker = Worker(quick, memory)
    wanted.check(next_worker.issue(wanted, later, prover, notes.order_url))
    assert later.order_url is None
    assert len(quick.orders()) == len(quick.finalized()) == 1


def test_an_order_the_ca_has_forgotten_is_replaced_by_a_new_one(quick: Pebble, prover: TxtProver) -> None:
    wanted, notes = Wanted(names=("knit.example",)), Notes()
    lost = quick.directory_url.replace("/dir", "/my-order/nothing")
    wanted.check(Worker(quick).issue(wanted, notes, prover, lost))
    assert notes.order_url not in (None, lost)


def test_an_order_of_another_ca_is_never_asked_about(quick: Pebble, prover: TxtProver) -> None:
    wanted, notes = Wanted(names=("knit.example",)), Notes()
    foreign = "https://ca.elsewhere.example/order/1"
    wanted.check(Worker(quick).issue(wanted, notes, prover, foreign))
    assert notes.order_url is not None


def test_a_valid_authorization_is_not_proved_again(challtestsrv: ChallTestSrv, prover: TxtProver) -> None:
    options = PebbleOptions(
        dns_server=challtestsrv.address, authz_reuse_percent=100, retry_after_authz=0, retry_after_order=0
    )
    for ca in guarded(options):
        acme = Worker(ca)
        for _ in range(2):
            wanted = Wanted(names=("knit.example",))
            wanted.check(acme.issue(wanted, Notes(), prover))
        assert len(prover.proved) == 1


def test_a_wrong_txt_value_is_told_in_the_words_of_the_ca(quick: Pebble) -> None:
    wanted, notes = Wanted(names=("knit.example",)), Notes()
    with pytest.raises(IdentifierRejected, match=r"knit\.example .*the CA says: .*TXT"):
        Worker(quick).issue(wanted, notes, TrustingProver())
    assert notes.steps == ["ordered"]


def test_a_name_the_ca_will_not_have_is_told_in_its_words(challtestsrv: ChallTestSrv, prover: TxtProver) -> None:
    for ca in guarded(PebbleOptions(dns_server=challtestsrv.address, blocked=("blocked.example",))):
        wanted = Wanted(names=("www.blocked.example",))
        with pytest.raises(IdentifierRejected, match=r"the CA says: .*blocked.*\(rejectedIdentifier\)"):
            Worker(ca).issue(wanted, Notes(), prover)


def test_a_ca_whose_roots_are_unknown_is_refused_with_the_setting_to_change(quick: Pebble, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(quick.roots())
    with pytest.raises(Unreachable, match=r"not trusted .*KNIT_ACME_CA_FILE"):
        Worker(Place(quick.directory_url, other)).issue(Wanted(names=("knit.example",)), Notes(), TrustingProver())


def test_a_file_without_roots_stops_the_process(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(Misconfigured, match=r"empty\.pem: no PEM certificates"):
        Worker(Place("https://127.0.0.1:1/dir", empty))


def test_external_account_binding_registers_the_account(challtestsrv: ChallTestSrv, prover: TxtProver) -> None:
    for ca in guarded(PebbleOptions(dns_server=challtestsrv.address, eab_keys=(EAB,))):
        wanted = Wanted(names=("knit.example",))
        holder = AccountOwner(eab_kid=EAB[0], eab_hmac=EAB[1])
        wanted.check(Worker(ca, holder=holder).issue(wanted, Notes(), prover))


@pytest.mark.parametrize("holder", [AccountOwner(), AccountOwner(eab_kid="nobody", eab_hmac=EAB[1])])
def test_a_missing_or_unknown_binding_is_refused(challtestsrv: ChallTestSrv, holder: AccountOwner) -> None:
    for ca in guarded(PebbleOptions(dns_server=challtestsrv.address, eab_keys=(EAB,))):
        with pytest.raises(CredentialsRejected) as refused:
            Worker(ca, holder=holder).issue(Wanted(names=("knit.example",)), Notes(), TrustingProver())
        assert EAB[1] not in str(refused.value)


def test_the_account_is_registered_once_and_kept(quick: Pebble, prover: TxtProver) -> None:
    memory = Memory()
    for _ in range(2):
        acme = Worker(quick, memory)
        wanted = Wanted(names=("knit.example",))
        wanted.check(acme.issue(wanted, Notes(), prover))
    key_only, registered = memory.saves
    assert key_only.uri is None
    assert registered.uri is not None
    assert json.loads(registered.registration)["uri"] == registered.uri


def test_a_key_stored_before_a_crash_leads_to_the_account_it_was_registered_with(
    quick: Pebble, prover: TxtProver
) -> None:
    memory, wanted = Memory(), Wanted(names=("knit.example",))
    Worker(quick, memory).issue(wanted, Notes(), prover)
    registered = memory.saves[-1]
    memory.save(replace(registered, uri=None, registration=""))
    Worker(quick, memory).issue(wanted, Notes(), prover)
    assert memory.saves[-1].uri == registered.uri


@pytest.mark.parametrize("key_type", [KeyType.EC256, KeyType.EC384, KeyType.RSA2048])
def test_the_account_of_the_original_knit_is_taken_over(quick: Pebble, prover: TxtProver, key_type: KeyType) -> None:
    unregistered = Account(
        directory="", issuer="acme", email="old@knit.example", private_key=CertKey.new(key_type).pem.decode()
    )
    first, wanted = Memory(old=unregistered), Wanted(names=("knit.example",))
    Worker(quick, first).issue(wanted, Notes(), prover)
    made = first.saves[-1]
    second = Memory(old=replace(unregistered, registration=json.dumps({"body": {"status": "valid"}, "uri": made.uri})))
    Worker(quick, second).issue(wanted, Notes(), prover)
    assert second.saves == [replace(made, registration=second.saves[0].registration)]


def test_an_original_account_of_another_directory_is_left_alone(quick: Pebble, prover: TxtProver) -> None:
    staging = json.dumps({"body": {}, "uri": "https://staging.ca.example/acct/1"})
    key = CertKey.new(KeyType.EC256).pem.decode()
    memory = Memory(old=Account(directory="", issuer="acme", email="", private_key=key, registration=staging))
    wanted = Wanted(names=("knit.example",))
    wanted.check(Worker(quick, memory).issue(wanted, Notes(), prover))
    assert memory.saves[-1].private_key != key


def test_an_account_the_ca_does_not_know_is_named_as_the_cause(quick: Pebble) -> None:
    key = CertKey.new(KeyType.EC256).pem.decode()
    stranger = Account(
        directory=quick.directory_url,
        issuer="acme",
        email="",
        private_key=key,
        uri=quick.directory_url.replace("/dir", "/my-account/77"),
    )
    memory = Memory(kept={(stranger.directory, "acme"): stranger})
    with pytest.raises(CredentialsRejected, match="the CA says: "):
        Worker(quick, memory).issue(Wanted(names=("knit.example",)), Notes(), TrustingProver())


def test_four_threads_share_one_account(quick: Pebble, prover: TxtProver) -> None:
    memory = Memory()
    acme = Worker(quick, memory)
    wanted = [Wanted(names=(f"n{number}.knit.example",)) for number in range(16)]
    with ThreadPoolExecutor(4) as threads:
        chains = list(threads.map(lambda one: acme.issue(one, Notes(), prover), wanted))
    for one, chain in zip(wanted, chains, strict=True):
        one.check(chain)
    assert len(memory.saves) == 2
    assert set(quick.issued_count().values()) == {1}


def test_a_profile_is_asked_for_and_an_unknown_one_refused(quick: Pebble, prover: TxtProver) -> None:
    acme = Worker(quick)
    short = Wanted(names=("knit.example",), profile="shortlived")
    facts = short.check(acme.issue(short, Notes(), prover))
    assert (facts.not_after - facts.not_before).days <= 6
    notes = Notes()
    with pytest.raises(Refused, match=r"no profile 'tiny'; it offers: default, shortlived"):
        acme.issue(replace(short, profile="tiny"), notes, prover)
    assert notes.entries == []


def test_an_order_may_name_the_certificate_it_replaces(quick: Pebble, prover: TxtProver) -> None:
    acme = Worker(quick)
    first = Wanted(names=("knit.example",))
    facts = first.check(acme.issue(first, Notes(), prover))
    assert facts.ari_id is not None
    renewal = partial(Wanted, names=("knit.example",))
    for replaced in (facts.ari_id, facts.ari_id, "AAAA.AAAA"):
        again = renewal(replaces=replaced)
        again.check(acme.issue(again, Notes(), prover))
    assert len(quick.finalized()) == 4


def test_the_chain_is_chosen_by_the_name_of_any_of_its_issuers(quick: Pebble, prover: TxtProver) -> None:
    root = certificates.load_pem_x509_certificate(quick.roots().encode())
    name = str(root.subject.get_attributes_for_oid(certificates.NameOID.COMMON_NAME)[0].value)
    acme = Worker(quick)
    for preferred in (name, "No Such Root"):
        wanted = Wanted(names=("knit.example",), preferred_chain=preferred)
        wanted.check(acme.issue(wanted, Notes(), prover))
