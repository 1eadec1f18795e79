"""Issuers that are knit's own, as the file describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from knit.app import own_ca
from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.errors import Misconfigured
from knit.settings.central import Central, Worker
from knit.settings.checked import checked
from knit.settings.environment import Environment
from knit.settings.own_issuers import OwnCa, SelfSigned
from tests.unit.core.test_ca_signing import below_root, pem

BASE = {"KNIT_DB_URL": "postgres://u:p@db/knit", "KNIT_VALKEY_URL": "redis://valkey"}
WISH = own_ca.NewCa(
    common_name="Inside", key_type=KeyType.EC256, lifetime=timedelta(days=9), permitted=(), passphrase=None
)


@dataclass(frozen=True)
class Home:
    made: own_ca.Made

    def table(self, more: str = "") -> str:
        files = f'cert_file = "{self.made.cert_file}"\nkey_file = "{self.made.key_file}"\n'
        return f'[issuer.inside]\nkind = "ca"\n{files}{more}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(own_ca.make(WISH, None, tmp_path_factory.mktemp("ca")))


def environment(text: str) -> Environment:
    return Environment({**BASE, "KNIT_ISSUERS": text})


def read(text: str) -> Any:
    (one,) = Worker.read(environment(text), queue_required=False).openable
    return one


def refused(text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_ca_is_told_by_its_key(home: Home) -> None:
    found = read(home.table())
    assert isinstance(found, OwnCa)
    assert found.terms == Terms(name="inside", kind="ca", directory=home.made.directory)
    assert found.terms.directory.startswith("ca:")
    assert len(found.terms.directory) == 3 + 64
    assert "authority" not in repr(found)


FLIPS: list[tuple[str, Any, Any]] = [
    ('lifetime = "1h"', lambda one: one.lifetime, timedelta(hours=1)),
    ('permitted = ["Example.org", "internal"]', lambda one: one.permitted, ("example.org", "internal")),
    ("client_auth = true", lambda one: one.client_auth, True),
    ('crl_url = "http://crl.example/x"', lambda one: one.crl_url, "http://crl.example/x"),
    ('crl_lifetime = "1d"', lambda one: one.crl_lifetime, timedelta(days=1)),
    ('key_type = "rsa2048"', lambda one: one.terms.key_type, KeyType.RSA2048),
    ("staging = true", lambda one: one.terms.staging, True),
]


@pytest.mark.parametrize(("line", "seen", "with_it"), FLIPS)
def test_a_key_changes_what_is_read(home: Home, line: str, seen: Any, with_it: object) -> None:
    assert seen(read(home.table())) != with_it
    assert seen(read(home.table(f"{line}\n"))) == with_it


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('lifetime = "59m"', "an hour or more"),
        ('lifetime = "soon"', "a positive duration"),
        ('permitted = ["*.example.org"]', "leave *. out"),
        ('permitted = ["no name"]', "names such as example.org"),
        ('crl_url = "ldap://x"', "http://"),
        ('email = "a@b.example"', "no such key"),
        ('directory = "https://ca.example/"', "no such key"),
        ('profile = "x"', "no such key"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(home: Home, line: str, said: str) -> None:
    told = refused(home.table(f"{line}\n"))
    assert told.startswith("KNIT_ISSUERS, line 5: ")
    assert said in told


def test_commands_read_the_certificate_and_only_processes_that_issue_the_key(home: Home, tmp_path: Path) -> None:
    text = home.table().replace(str(home.made.key_file), str(tmp_path / "gone"))
    assert Central.read(environment(text)).issuers[0].directory == home.made.directory
    told = refused(text)
    assert "line 4" in told
    assert "cannot be read (No such file" in told
    assert checked(environment(text)).error == told, "`knit config check` says it"
    with pytest.raises(Misconfigured, match=r"line 3: cert_file = .*: cannot be read"):
        Central.read(environment(home.table().replace("ca.pem", "gone.pem")))


def test_a_ca_that_may_not_vouch_for_clients_is_not_told_to(home: Home, tmp_path: Path) -> None:
    servers = below_root(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    cert, key = tmp_path / "their.pem", tmp_path / "their.key"
    cert.write_bytes(b"".join(map(pem, servers.chain.certificates)))
    how = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(servers.key.private_bytes(serialization.Encoding.PEM, *how))
    for more, said in (("", None), ("client_auth = true\n", "line 5: client_auth = true: its certificates may not")):
        text = home.table(more).replace(str(home.made.cert_file), str(cert)).replace(str(home.made.key_file), str(key))
        if said is None:
            assert isinstance(read(text), OwnCa)
        else:
            assert said in refused(text)


def test_a_key_that_does_not_fit_stops_the_process_with_its_line(home: Home, tmp_path: Path) -> None:
    other = own_ca.make(WISH, None, tmp_path / "other")
    told = refused(home.table().replace(str(home.made.key_file), str(other.key_file)))
    assert "line 4: key_file = " in told
    assert "is not the key of 'CN=Inside'" in told


def test_an_encrypted_key_has_its_passphrase_in_a_file(tmp_path: Path) -> None:
    locked = own_ca.NewCa(
        common_name="L", key_type=KeyType.EC256, lifetime=timedelta(days=9), permitted=(), passphrase=b"s3 cret"
    )
    home = Home(own_ca.make(locked, None, tmp_path / "ca"))
    assert b"ENCRYPTED" in home.made.key_file.read_bytes()
    assert "a passphrase is needed" in refused(home.table())
    word = tmp_path / "word"
    for written, fits in (("s3 cret\n", True), ("other", False)):
        word.write_text(written)
        text = home.table(f'passphrase_file = "{word}"\n')
        if fits:
            assert isinstance(read(text), OwnCa)
        else:
            assert "the passphrase is wrong" in refused(text)
            assert "other" not in refused(text)


def test_the_self_signed_issuer_always_counts_as_staging() -> None:
    found = read('[issuer.dev]\nkind = "selfsigned"\nlifetime = "2h"\n')
    assert found == SelfSigned(
        terms=Terms(name="dev", kind="selfsigned", directory="selfsigned:dev", staging=True),
        lifetime=timedelta(hours=2),
    )
    assert read('[issuer.dev]\nkind = "selfsigned"\n').lifetime == timedelta(days=30)
    assert "no such key" in refused('[issuer.dev]\nkind = "selfsigned"\nstaging = false\n')


def test_a_file_that_cannot_have_that_name_is_refused_in_words() -> None:
    text = '[issuer.inside]\nkind = "ca"\ncert_file = "/x\\u0000"\nkey_file = "/y"\n'
    with pytest.raises(Misconfigured, match=r"cert_file = .* cannot be read"):
        Central.read(Environment({**BASE, "KNIT_ISSUERS": text}))
