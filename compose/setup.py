#!/usr/bin/env python3
"""Makes what the containers must not share with the world: passwords, access lists, and the test CA's own TLS.

`python setup.py FOLDER USERS_ACL`: one folder below FOLDER for each service, so that each mounts its own secrets and
no others. Run again it changes nothing: passwords are made once and live in the volumes.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PASSWORDS = ("postgres", "queue", "publisher", "watcher", "replica", "reporter")
ON_PRIMARY = ("default", "probe", "publisher", "replica", "reporter", "watcher")
ON_REPLICA = ("default", "probe", "watcher")
LIFE = timedelta(days=3650)


def main() -> None:
    """Write everything, unless it is there; `setup/done` is written last."""
    folder = Path(sys.argv[1])
    done = folder / "setup" / "done"
    if done.exists():
        return
    rules = Path(sys.argv[2]).read_text()
    passwords = {name: secrets.token_urlsafe(24) for name in PASSWORDS}
    files = {**_servers(passwords, rules), **_clients(passwords), **_pebble()}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # Services run under users of their own; who can see a file is decided by which volume is mounted where.
        path.write_text(text)
        path.chmod(0o444)
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _servers(passwords: Mapping[str, str], rules: str) -> dict[str, str]:
    return {
        "postgres/password": passwords["postgres"],
        "queue/users.acl": f"user default on #{_hash(passwords['queue'])} ~* &* +@all\n{_users(rules, ('probe',), {})}",
        "valkey/users.acl": _users(rules, ON_PRIMARY, passwords),
        "replica/users.acl": _users(rules, ON_REPLICA, passwords),
        "replica/primary.conf": f"primaryuser replica\nprimaryauth {passwords['replica']}\n",
    }


def _clients(passwords: Mapping[str, str]) -> dict[str, str]:
    database = f"postgres://knit:{passwords['postgres']}@postgres/knit"
    queue = f"redis://:{passwords['queue']}@queue:6379/0"
    return {
        "scheduler/db-url": database,
        "scheduler/queue-url": queue,
        "worker/db-url": database,
        "worker/queue-url": queue,
        "worker/valkey-url": f"redis://publisher:{passwords['publisher']}@valkey:6379/0",
        "node/valkey-url": f"redis://watcher:{passwords['watcher']}@valkey-replica:6379/0",
        "node/report-url": f"redis://reporter:{passwords['reporter']}@valkey:6379/0",
    }


def _users(rules: str, names: tuple[str, ...], passwords: Mapping[str, str]) -> str:
    """The lines of these users, each with the hash of its password; users without one keep their line."""
    lines = {line.split()[1]: line for line in rules.splitlines() if line.startswith("user ")}
    return "".join(f"{lines[name]}{_secret(name, passwords)}\n" for name in names)


def _secret(name: str, passwords: Mapping[str, str]) -> str:
    return f" #{_hash(passwords[name])}" if name in passwords else ""


def _hash(password: str) -> str:
    return sha256(password.encode()).hexdigest()


def _pebble() -> dict[str, str]:
    """A root and a TLS certificate for the name `pebble`, and Pebble's settings."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "knit test root")])
    root = _certificate(issuer, root_key, issuer, root_key, ca=True)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pebble")])
    leaf = _certificate(subject, key, issuer, root_key, ca=False)
    settings = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "0.0.0.0:15000",
        "certificate": "/secrets/cert.pem",
        "privateKey": "/secrets/key.pem",
        "httpPort": 5002,
        "tlsPort": 5001,
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "ordinary", "validityPeriod": 90 * 86400}},
    }
    return {
        "worker/pebble-root.pem": _pem(root),
        "pebble/cert.pem": _pem(leaf),
        "pebble/key.pem": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "pebble/pebble.json": json.dumps({"pebble": settings}, indent=2),
    }


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(_usage(cert_sign=True), critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.DNSName("pebble"), x509.DNSName("localhost")])
        builder = builder.add_extension(names, critical=False).add_extension(_usage(cert_sign=False), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not cert_sign,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


if __name__ == "__main__":
    main()
