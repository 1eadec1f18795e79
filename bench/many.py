"""Ten thousand certificates, listed, issued and published without a CA. They share one chain and one key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knit.core.digest import pair_digest
from knit.core.model.certificate import Bundle, CertId
from knit.core.model.issuer import UNNAMED, Terms
from knit.core.value import Mark, Value
from knit.core.wanted import ListRules
from knit.settings.variables import LETS_ENCRYPT
from knit.store.database import Database
from knit.store.passes.passes import Passes
from knit.valkey.layout import Layout

MANY = 10_000
TERMS = Terms(name=UNNAMED, directory=LETS_ENCRYPT, limits="none")
ALLOWED = ListRules(issuers=(TERMS.name,), reserved=Layout().reserved)
LIFE = timedelta(days=90)
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
CHUNK = 500
COLUMNS = (
    "cert_id, names_key, issuer, directory, key_type, serial, not_before, not_after, issued_at, sha256, generation, "
    "valkey_key, cert_path, key_path, published_at"
)


def listed(connection: psycopg.Connection[tuple[object, ...]], count: int, folder: str = "/tls") -> None:
    """Rows of the list, as the original writes them."""
    connection.execute(
        "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path) "
        "select n || '.knit.example', 'exec', 'certs:' || n, %(folder)s || '/' || n || '.crt', "
        "%(folder)s || '/' || n || '.key' from (select 'n' || i as n from generate_series(0, %(count)s - 1) i) names",
        {"folder": folder, "count": count},
    )


def in_place(
    database: Database, connection: psycopg.Connection[tuple[object, ...]], valkey_url: str, count: int
) -> None:
    """So many certificates, each of them listed, adopted, issued and published."""
    listed(connection, count)
    published(valkey_url, count, "/tls")
    Passes(database, ALLOWED).adopt()
    issued(connection)


def issued(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """What the journal knows of them once they are published."""
    sha256 = pair_digest(_bundle().fullchain, _bundle().privkey)
    connection.execute(
        f"insert into knit_issued ({COLUMNS}) select id, names_key, %s, %s, %s, '01', %s, %s, %s, %s, 1, "  # noqa: S608 -- constants
        "valkey_key, cert_path, key_path, now() from knit_certs",
        [TERMS.name, TERMS.directory, TERMS.key_type, BEGAN, BEGAN + LIFE, BEGAN, sha256],
    )
    connection.execute("analyze")


def published(url: str, count: int, folder: str) -> None:
    """The values, their index and their change feed."""
    layout, bundle = Layout(), _bundle()
    revision = int(datetime.now(UTC).timestamp() * 1e6)
    with redis.Redis.from_url(url) as client:
        for start in range(0, count, CHUNK):
            keys = {f"certs:n{number}": number for number in range(start, min(start + CHUNK, count))}
            pipeline = client.pipeline(transaction=False)
            pipeline.mset({key: _value(bundle, number, folder) for key, number in keys.items()})
            pipeline.sadd(layout.index, *keys)
            pipeline.zadd(layout.revisions, dict.fromkeys(keys, revision))
            pipeline.set(layout.revision, revision)
            pipeline.execute()


def _value(bundle: Bundle, number: int, folder: str) -> bytes:
    return Value.of(
        bundle,
        not_after=BEGAN + LIFE,
        cert_path=f"{folder}/n{number}.crt",
        key_path=f"{folder}/n{number}.key",
        mark=Mark(cert_id=CertId(number + 1), generation=1, issued_at=BEGAN, directory=LETS_ENCRYPT),
    ).to_wire()


def written(folder: Path, count: int) -> None:
    """The files of a node that has installed them all."""
    bundle = _bundle()
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"n{number}.crt").write_bytes(bundle.fullchain)
        key = folder / f"n{number}.key"
        key.touch(mode=0o600)
        key.write_bytes(bundle.privkey)


_BUNDLES: list[Bundle] = []


def _bundle() -> Bundle:
    """A chain of two with its key, of ordinary size, made once."""
    if not _BUNDLES:
        root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench root")])
        leaf = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        chain = [_signed(leaf, leaf_key, root, root_key), _signed(root, root_key, root, root_key)]
        _BUNDLES.append(
            Bundle(
                fullchain=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
                privkey=leaf_key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
            )
        )
    return _BUNDLES[0]


def _signed(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + LIFE - timedelta(days=1),
    )
    names = x509.SubjectAlternativeName([x509.DNSName("bench.knit.example")])
    constraints = x509.BasicConstraints(ca=subject == issuer, path_length=None)
    whole = builder.add_extension(names, critical=False).add_extension(constraints, critical=True)
    return whole.sign(signer, hashes.SHA256())
