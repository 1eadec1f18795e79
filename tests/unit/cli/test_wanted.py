"""What `knit add` asks for, before anybody else is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from knit.cli.wanted import new_cert
from knit.core.model import KeyType
from knit.errors import Misconfigured

TYPED = {
    "domains": "a.example, b.example",
    "provider": "desec",
    "valkey_key": "tls:a",
    "cert_path": "/etc/a.crt",
    "key_path": "/etc/a.key",
}


def test_what_is_not_said_has_the_original_meaning() -> None:
    cert = new_cert(TYPED)
    assert (cert.issuer, cert.key_type, cert.profile, cert.preferred_chain, cert.renew_before) == (
        "acme",
        KeyType.EC256,
        None,
        None,
        None,
    )
    assert len(cert.names) == 2


def test_every_flag_arrives() -> None:
    more = {"key_type": "RSA2048", "profile": "shortlived", "preferred_chain": "ISRG Root X1", "renew_before": "720h"}
    cert = new_cert({**TYPED, **more, "provider": "desec@west-2"})
    assert (cert.key_type, cert.profile, cert.preferred_chain, cert.renew_before, cert.provider) == (
        KeyType.RSA2048,
        "shortlived",
        "ISRG Root X1",
        timedelta(days=30),
        "desec@west-2",
    )


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("provider", "desek", "unknown DNS provider 'desek'; did you mean desec"),
        ("provider", "desec@", "--provider 'desec@'"),
        ("provider", "desec@we st", "--provider 'desec@we st'"),
        ("valkey_key", "tls a", "--valkey-key 'tls a': must not hold white space"),
        ("issuer", "acmee", "--issuer 'acmee': must be acme"),
        ("key_type", "ed25519", "--key-type 'ed25519': must be one of ec256, ec384, rsa2048, rsa3072, rsa4096"),
        ("profile", "short lived", "--profile 'short lived': must be one word"),
        ("preferred_chain", "a\nb", "must be printable"),
        ("renew_before", "30d", "--renew-before '30d': must be a positive duration"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_allowed(flag: str, text: str, said: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        new_cert({**TYPED, flag: text})
    assert said in str(refused.value)
