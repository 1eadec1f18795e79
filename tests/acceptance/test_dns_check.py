"""`knit dns check` and `knit renew --once` as a user runs them, before a real DNS server that takes signed updates."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rig.installation import Installation, Result
from rig.knot import Knot
from rig.pebble import Pebble, PebbleOptions
from rig.valkey import Valkey
from tests.acceptance import local_dns
from tests.acceptance.scene import Scene, Servers, txt_names
from tests.fix_rig import running

NAME = "www.knit.example"
CAA = "pebble.letsencrypt.org"
RECORDS = f"""@ IN CAA 0 issue "{CAA}"
_acme-challenge.loop IN CNAME _acme-challenge.loop
_acme-challenge.far IN CNAME x.other.example.
_acme-challenge.foreign IN CNAME x.foreign.example.
"""


@pytest.fixture
def knot() -> Iterator[Knot]:
    yield from running(lambda: Knot("knit.example", "other.example", records=RECORDS))


@pytest.fixture
def scene(knot: Knot, database_url: str, valkey: Valkey, queue_valkey: Valkey) -> Iterator[Scene]:
    """The propagation check is on."""
    valkey.flush()
    for ca in running(lambda: Pebble(PebbleOptions(dns_server=knot.address))):
        servers = Servers(ca=ca, dns=knot, database=database_url, valkey=valkey, queue=queue_valkey)
        settings = {**servers.settings(), "DNSUPDATE_PROPAGATION_TIMEOUT": "2", "KNIT_DNS_TIMEOUT": "2s"}
        settings.pop("KNIT_DNS_PROPAGATION_WAIT")
        settings.pop("KNIT_QUEUE_URL")
        with Installation(settings=settings) as knit:
            yield Scene(servers=servers, knit=knit)
        ca.raise_if_wedged()


def run(scene: Scene, *words: str, **env: str) -> Result:
    return local_dns.knit(scene, *words, env={"RIG_DNS_PORT": str(scene.servers.dns.port), **env})


def check(scene: Scene, name: str, *words: str, **env: str) -> Result:
    return run(scene, "dns", "check", name, "--provider", "dnsupdate", *words, **env)


def add(scene: Scene, owner: str, kind: str, text: str) -> None:
    local_dns.update(scene.servers.dns, lambda zone: zone.add(owner, 5, kind, text))


def test_a_good_name_is_ok_line_by_line_and_nothing_is_left_behind(scene: Scene) -> None:
    done = check(scene, NAME)
    assert (done.code, done.err) == (0, ""), done.out
    subjects = [re.match(r"ok +(\w+)", line) for line in done.out.splitlines()]
    assert [found and found[1] for found in subjects] == [
        "delegation",
        "server",
        "resolver",
        "leftovers",
        "CAA",
        "provider",
    ]
    assert done.out.rstrip().endswith("a probe value was written, seen and deleted")
    assert txt_names(scene.servers.dns) == []


def test_a_delegated_name_is_tried_where_it_leads(scene: Scene) -> None:
    done = check(scene, "far.knit.example", "--json")
    assert done.code == 0, done.out
    first, *_, last = done.json
    assert "-> x.other.example, in zone other.example" in first["text"]
    assert (last["subject"], last["verdict"]) == ("provider", "ok")
    assert scene.servers.dns.txt("x.other.example") == []


@pytest.mark.parametrize(
    ("name", "env", "subject", "said"),
    [
        ("loop.knit.example", {}, "delegation", r"loops: _acme-challenge\.loop\.knit\.example -> "),
        ("foreign.knit.example", {}, "delegation", r"does not say where x\.foreign\.example is"),
        (
            NAME,
            {"DNSUPDATE_TSIG_SECRET": "c2VjcmV0"},
            "provider",
            r"it does not accept the signature: wrong TSIG secret or algorithm",
        ),
        (NAME, {"KNIT_DNS_RESOLVERS": "127.0.0.1:1"}, "delegation", r"127\.0\.0\.1:1: nothing listens there"),
        (NAME, {"RIG_DNS_PORT": "1"}, "server", r"nothing listens there.*KNIT_DNS_PROPAGATION_WAIT"),
        ("www.knit.example", {"KNIT_ACME_DIRECTORY": "https://127.0.0.1:1/dir"}, "CA", r"127\.0\.0\.1:1"),
    ],
)
def test_what_an_order_would_fail_for_is_exit_1_and_said(
    scene: Scene, name: str, env: dict[str, str], subject: str, said: str
) -> None:
    done = check(scene, name, **env)
    assert (done.code, done.err) == (1, ""), done.out
    assert re.search(rf"^failed +{subject} .*{said}", done.out, re.MULTILINE), done.out
    assert txt_names(scene.servers.dns) == []


def test_a_leftover_is_a_warning_that_stays_and_no_failure(scene: Scene) -> None:
    add(scene, "_acme-challenge.www", "TXT", "foreign")
    done = check(scene, NAME)
    assert done.code == 0
    assert re.search(r"^warning +leftovers +1 TXT record\(s\) at", done.out, re.MULTILINE)
    assert scene.servers.dns.txt(f"_acme-challenge.{NAME}") == ["foreign"]


def test_caa_is_held_against_the_account_in_the_database(scene: Scene) -> None:
    scene.add(NAME)
    assert run(scene, "renew", "--once").code == 0
    ((account,),) = scene.sql("select uri from knit_accounts")
    add(scene, "www", "CAA", f'0 issue "{CAA}; accounturi={account}"')
    assert check(scene, NAME).code == 0
    local_dns.update(scene.servers.dns, lambda zone: zone.delete("www"))
    add(scene, "www", "CAA", f'0 issue "{CAA}; accounturi={account}9"')
    done = check(scene, NAME)
    assert done.code == 1
    assert f"is for the account {account}9, ours is {account}" in done.out


def test_a_method_that_caa_does_not_allow_fails_for_the_name_and_for_its_wildcard(scene: Scene) -> None:
    add(scene, "www", "CAA", f'0 issue "{CAA}; validationmethods=http-01"')
    for name in (NAME, f"*.{NAME}"):
        done = check(scene, name)
        assert done.code == 1
        assert "does not allow dns-01 (validationmethods=http-01)" in done.out


def test_a_failed_renewal_says_the_same_sentence_and_the_ca_was_not_asked(scene: Scene) -> None:
    scene.add(NAME)
    add(scene, "@", "NS", "ns2.knit.example.")
    add(scene, "ns2", "A", "127.0.0.77")
    said = r"ns2\.knit\.example \(127\.0\.0\.77:\d+\)"
    told = check(scene, NAME)
    assert told.code == 1
    assert re.search(rf"^failed +server {said} +nothing listens there: repair it", told.out, re.MULTILINE)

    done = run(scene, "renew", "--once")
    assert done.code == 1
    (row,) = scene.knit.list()
    assert re.search(rf"the TXT value for _acme-challenge\.{NAME} is not there yet: {said}", row["last_error"])
    assert scene.pebble.finalized() == []
    assert txt_names(scene.servers.dns) == []


def test_a_check_is_made_as_the_issuer_that_is_named_would_order(scene: Scene) -> None:
    ca, file = scene.pebble, scene.knit.home / "issuers.toml"
    file.write_text(
        f'default = ["dev"]\n[issuer.dev]\nkind = "selfsigned"\n[issuer.ours]\nkind = "acme"\n'
        f'directory = "{ca.directory_url}"\nca_file = "{ca.ca_file}"\n'
        '[issuer.closed]\nkind = "acme"\ndirectory = "https://closed.example/dir"\n'
        'eab_kid = "kid"\neab_hmac_file = "/no/such"\n'
    )
    for name in [name for name in scene.knit.settings if name.startswith("KNIT_ACME_")]:
        del scene.knit.settings[name]
    scene.knit.settings["KNIT_ISSUERS_FILE"] = str(file)
    default = check(scene, NAME)
    assert (default.code, "name another: --issuer ours or closed" in default.err) == (2, True), default.err
    named = check(scene, NAME, "--issuer", "ours")
    assert (named.code, "CAA" in named.out) == (0, True), named.out + named.err
    wrong = check(scene, NAME, "--issuer", "urs")
    assert (wrong.code, "no issuer is called 'urs'; configured: dev, ours, closed" in wrong.err) == (2, True)
