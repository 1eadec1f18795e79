"""CAs of our own, newly made: roots, intermediates, and those that live for one signature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from knit.core.ca_signing import BACKDATED, ca_usage, issuer_identifier
from knit.core.keys import PrivateKey, signing_hash
from knit.core.own_ca import Authority, Chain
from knit.errors import Misconfigured

EVERYWHERE = ("0.0.0.0/0", "::/0")


def root(
    common_name: str,
    key: PrivateKey,
    serial: int,
    *,
    now: datetime,
    lifetime: timedelta,
    permitted: Sequence[str] = (),
    path_length: int | None = 1,
) -> Authority:
    """A CA that vouches for itself. `path_length` is how many CA certificates may be between it and a leaf."""
    unsigned = _unsigned(
        None, common_name, key, serial, valid=(now, now + lifetime), permitted=permitted, path_length=path_length
    )
    return Authority(Chain((unsigned.sign(key, signing_hash(key)),)), key)


def intermediate(
    parent: Authority,
    common_name: str,
    key: PrivateKey,
    serial: int,
    *,
    now: datetime,
    lifetime: timedelta,
    permitted: Sequence[str] = (),
) -> Authority:
    """A CA below this one, that issues leaves only, never outlives it, and takes its limits over.

    Raises Misconfigured where the parent allows none, or not these names.
    """
    above = parent.chain
    if not above.begins <= now < above.ends:
        raise Misconfigured("the CA above is not valid now")
    if above.limits_subjects:
        raise Misconfigured("the CA above limits the subjects of those below it (name constraints)")
    wanted = tuple(permitted) or _inherited(above)
    for tree in wanted:
        if not all(limit.covers(tree) for limit in above.limits):
            raise Misconfigured(f"{tree} is not permitted by the CA above")
    issuer, valid = above.issuing, (now, min(now + lifetime, above.ends))
    unsigned = _unsigned(
        issuer.subject, common_name, key, serial, valid=valid, permitted=wanted, path_length=0
    ).add_extension(issuer_identifier(issuer), critical=False)
    signed = unsigned.sign(parent.key, parent.hash)
    made = Chain.of(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (signed, *above.certificates)))
    return Authority(made, key)


def _inherited(above: Chain) -> tuple[str, ...]:
    """What the nearest limit permits: whoever looks at the new certificate alone sees it there."""
    return next((limit.permitted for limit in above.limits if limit.permitted is not None), ())


def _unsigned(
    issuer: x509.Name | None,
    common_name: str,
    key: PrivateKey,
    serial: int,
    *,
    valid: tuple[datetime, datetime],
    permitted: Sequence[str],
    path_length: int | None,
) -> x509.CertificateBuilder:
    """A certificate to be signed by this issuer; by its own key where there is none."""
    public, subject = key.public_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before((valid[0] - BACKDATED).replace(microsecond=0))
        .not_valid_after(valid[1].replace(microsecond=0))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(ca_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.add_extension(_constraints(permitted), critical=True) if permitted else builder


def _constraints(permitted: Sequence[str]) -> x509.NameConstraints:
    """Name constraints: these names, and no addresses, for a kind of name without a constraint is allowed."""
    addresses = [x509.IPAddress(ip_network(one)) for one in EVERYWHERE]
    return x509.NameConstraints([x509.DNSName(name) for name in permitted], addresses)
