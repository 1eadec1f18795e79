"""The strict reading of certificate requests at finalize (RFC 8555 section 7.4)."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from rig.scripted_ca.jws import PublicKey
from rig.scripted_ca.problems import Kind, Refusal

_HASHES = {"sha256", "sha384", "sha512"}


def accepted(der: bytes, names: tuple[str, ...], account_key: PublicKey, key_types: tuple[str, ...]) -> PublicKey:
    """Give the public key to certify; raise Refusal unless the request asks for exactly these names."""
    try:
        request = x509.load_der_x509_csr(der)
    except ValueError:
        raise Refusal(Kind.BAD_CSR, "not a DER certificate request") from None
    digest = request.signature_hash_algorithm
    if not request.is_signature_valid or digest is None or digest.name not in _HASHES:
        raise Refusal(Kind.BAD_CSR, "the request is not signed by its own key, or with a weak hash")
    _check_names(request, names)
    return _check_key(request, account_key, key_types)


def spki(key: PublicKey) -> bytes:
    """Give the bytes by which two public keys are compared."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_names(request: x509.CertificateSigningRequest, names: tuple[str, ...]) -> None:
    try:
        alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise Refusal(Kind.BAD_CSR, "the request has no subject alternative names") from None
    asked = [item.value if isinstance(item, x509.DNSName) else f"not a DNS name: {item}" for item in alternatives]
    if sorted(asked) != sorted(names):
        raise Refusal(Kind.BAD_CSR, f"the request names {sorted(asked)}, the order {sorted(names)}")
    common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if any(item.value not in names for item in common):
        raise Refusal(Kind.BAD_CSR, "the common name is not among the order's names")


def _check_key(
    request: x509.CertificateSigningRequest, account_key: PublicKey, key_types: tuple[str, ...]
) -> PublicKey:
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Refusal(Kind.BAD_CSR, "the key must be EC or RSA")
    word = f"{'EC' if isinstance(key, ec.EllipticCurvePublicKey) else 'RSA'}-{key.key_size}"
    if word not in key_types:
        raise Refusal(Kind.BAD_CSR, f"{word} keys are not certified here")
    if spki(key) == spki(account_key):
        raise Refusal(Kind.BAD_CSR, "the account key must not be certified (RFC 8555 section 11.1)")
    return key
