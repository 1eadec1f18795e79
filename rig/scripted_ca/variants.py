"""Leaves and chains, right and wrong: every certificate that a CA could hand out and a client must judge."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from rig.scripted_ca.hierarchy import Hierarchy, Signer
from rig.scripted_ca.jws import PublicKey

_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What is certified. `ca` says whether the leaf claims to be a CA itself."""

    key: PublicKey
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    ca: bool = False

    @classmethod
    def now(cls, key: PublicKey, names: tuple[str, ...], now: datetime, validity_s: int) -> "Leaf":
        return cls(key=key, names=names, not_before=now - _BACKDATED, not_after=now + timedelta(seconds=validity_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with the chains it is served with, the default one first."""

    certificate: x509.Certificate
    chains: tuple[bytes, ...]


_BENT: dict[str, Callable[[Leaf], Leaf]] = {
    "other_key": lambda leaf: _leaf(leaf, key=ec.generate_private_key(ec.SECP256R1()).public_key()),
    "missing_san": lambda leaf: _leaf(leaf, names=leaf.names[1:] or ("absent.invalid",)),
    "extra_san": lambda leaf: _leaf(leaf, names=(*leaf.names, "surplus.invalid")),
    "expired": lambda leaf: _leaf(leaf, shift=leaf.not_before - leaf.not_after - timedelta(hours=1)),
    "not_yet_valid": lambda leaf: _leaf(leaf, shift=timedelta(days=2)),
    "ca_leaf": lambda leaf: _leaf(leaf, ca=True),
}
_SPOILT: dict[str, Callable[[bytes, Hierarchy], bytes]] = {
    "broken_chain": lambda leaf, tree: leaf + tree.stranger.pem,
    "issuer_over": lambda leaf, tree: leaf + tree.over_pem,
    "no_chain": lambda leaf, _tree: leaf,
    "garbage_pem": lambda _leaf, _tree: b"-----BEGIN CERTIFICATE-----\n!!not base64!!\n-----END CERTIFICATE-----\n",
    "with_private_key": lambda leaf, tree: leaf + tree.intermediate.pem + _some_private_key(),
    "empty": lambda _leaf, _tree: b"",
}
_STRANGE: dict[str, Callable[[bytes, Hierarchy], bytes]] = {
    "reversed_chain": lambda leaf, tree: tree.intermediate.pem + leaf,
    "extra_text": lambda leaf, tree: b"subject=/CN=surprise\n" + leaf + b"issuer=/CN=more\n" + tree.intermediate.pem,
    "glued": lambda leaf, tree: leaf.strip() + tree.intermediate.pem,
    "cr": lambda leaf, tree: (leaf + tree.intermediate.pem).replace(b"\n", b"\r"),
    "crlf": lambda leaf, tree: (leaf + tree.intermediate.pem).replace(b"\n", b"\r\n"),
    "no_last_newline": lambda leaf, tree: (leaf + tree.intermediate.pem).rstrip(),
    "blanks": lambda leaf, tree: (leaf + tree.intermediate.pem).replace(b"\n", b" "),
    "one_line": lambda leaf, tree: b"\n".join(map(_unfolded, (leaf, tree.intermediate.pem))),
    "byte_order_mark": lambda leaf, tree: b"\xef\xbb\xbf" + leaf + tree.intermediate.pem,
    "old_label": lambda leaf, tree: (leaf + tree.intermediate.pem).replace(b" CERTIFICATE", b" X509 CERTIFICATE"),
    "stranger_too": lambda leaf, tree: tree.stranger.pem + leaf + tree.intermediate.pem + leaf,
}
"""Right certificates in forms that servers read in ways of their own, or not at all."""

WRONG = (*_BENT, *_SPOILT)
STRANGE = tuple(_STRANGE)
VARIANTS = ("good", "from_root", "cross_signed", "issuer_ending", *WRONG, *STRANGE)


def issued(leaf: Leaf, variant: str, tree: Hierarchy) -> Issued:
    """Certify a leaf, or what `variant` makes of it."""
    bend = _BENT.get(variant)
    signer = tree.roots[0] if variant == "from_root" else tree.intermediate
    certificate = signed(bend(leaf) if bend else leaf, signer)
    pem = certificate.public_bytes(Encoding.PEM)
    spoil = (_SPOILT | _STRANGE).get(variant)
    if variant == "from_root":
        return Issued(certificate=certificate, chains=(pem,))
    if spoil:
        return Issued(certificate=certificate, chains=(spoil(pem, tree),))
    if variant == "cross_signed":
        short = pem + tree.alternate_pem
        return Issued(certificate=certificate, chains=(short + tree.cross_pem, short))
    if variant == "issuer_ending":
        return Issued(certificate=certificate, chains=(pem + tree.ending_pem,))
    return Issued(certificate=certificate, chains=(pem + tree.intermediate.pem, pem + tree.alternate_pem))


def signed(leaf: Leaf, issuer: Signer) -> x509.Certificate:
    """Sign a leaf with the extensions that public CAs give."""
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(leaf.key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(leaf.not_before)
        .not_valid_after(leaf.not_after)
        .add_extension(x509.BasicConstraints(ca=leaf.ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in leaf.names]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _leaf(
    leaf: Leaf,
    *,
    key: PublicKey | None = None,
    names: tuple[str, ...] | None = None,
    shift: timedelta = timedelta(),
    ca: bool = False,
) -> Leaf:
    return Leaf(
        key=key or leaf.key,
        names=names or leaf.names,
        not_before=leaf.not_before + shift,
        not_after=leaf.not_after + shift,
        ca=ca,
    )


def _unfolded(pem: bytes) -> bytes:
    begin, *body, end = pem.splitlines()
    return b"\n".join((begin, b"".join(body), end))


def _some_private_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
