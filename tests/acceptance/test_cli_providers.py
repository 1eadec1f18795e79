"""providers and dns check, as far as they go without a DNS of the test's own on port 53."""

from __future__ import annotations

import re

import pytest

from knit.providers.registry import MODULES
from tests.acceptance.knit import knit

SECRET = "s3cr3t-canary"
NOWHERE = {
    "KNIT_DNS_RESOLVERS": "127.0.0.1:1",
    "KNIT_DNS_TIMEOUT": "1s",
    "KNIT_ACME_DIRECTORY": "https://127.0.0.1:1/dir",
}


def test_providers_lists_every_code_and_what_is_set_here_by_name_only() -> None:
    done = knit("providers", DESEC_TOKEN=SECRET)
    assert (done.code, done.err) == (0, "")
    assert {line.split()[0] for line in done.out.splitlines()[1:]} >= set(MODULES)
    assert re.search(r"^desec .* DESEC_TOKEN$", done.out, re.MULTILINE)
    assert not re.search(r"^cloudflare .* CLOUDFLARE_\w+$", done.out, re.MULTILINE)
    assert SECRET not in done.out


def test_one_provider_tells_its_variables_and_defaults() -> None:
    done = knit("providers", "rfc2136")
    assert done.code == 0
    assert done.out.startswith("dnsupdate ")
    assert "rfc2136" in done.out
    assert re.search(r"^DNSUPDATE_TTL +120 ", done.out, re.MULTILINE)


def test_providers_as_records_say_what_is_set_also_from_a_file() -> None:
    record = knit("providers", "desec", "--json", DESEC_TOKEN_FILE="/run/secrets/token").records
    (token,) = [variable for variable in record["variables"] if variable["name"] == "DESEC_TOKEN"]
    assert token["set"]
    assert token["secret"]
    assert len(knit("providers", "--json").records) >= len(MODULES)


def test_an_unknown_provider_is_exit_2_with_the_nearest() -> None:
    done = knit("providers", "cloudflair")
    assert (done.code, done.out) == (2, "")
    assert "did you mean cloudflare" in done.err


def test_a_check_without_dns_and_ca_is_exit_1_with_a_line_for_each() -> None:
    done = knit("dns", "check", "www.example.org", **NOWHERE)
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert any(line.startswith("failed   delegation ") for line in lines)
    assert any(re.match(r"failed   CA .*127\.0\.0\.1:1", line) for line in lines)
    records = knit("dns", "check", "www.example.org", "--json", **NOWHERE).records
    assert [record["verdict"] for record in records] == ["failed"] * len(lines)


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["not a name"], {}, "domain name 'not a name'"),
        (["a.example", "--provider", "desek"], {}, "unknown DNS provider 'desek'"),
        (["a.example", "--provider", "desec"], {}, "DNS provider desec: not set: DESEC_TOKEN"),
        (["a.example"], {"KNIT_DNS_TIMEOUT": "soon"}, "KNIT_DNS_TIMEOUT='soon'"),
        (["a.example"], {"KNIT_DNS_TIMEOUTS": "1s"}, "KNIT_DNS_TIMEOUTS: no such setting"),
    ],
)
def test_a_check_that_cannot_begin_is_one_line_and_exit_2(
    arguments: list[str], settings: dict[str, str], said: str
) -> None:
    done = knit("dns", "check", *arguments, **settings)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("knit: ")
    assert said in done.err
    assert done.err.count("\n") == 1
