"""The files of a CA of our own: made once, and its list of revoked certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from knit.app.clock import now
from knit.app.issuing import own_ca
from knit.core import new_ca
from knit.core.keys import new_key
from knit.core.model.keys import KeyType
from knit.core.own_ca import Authority, Chain
from knit.errors import Misconfigured, Refused
from knit.issuers.serials import new_serial
from knit.settings.own_issuers import OwnCa
from knit.store.database import Database

CERT, KEY, ROOT = "ca.pem", "ca.key", "root.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCa:
    """What CA is to be made. Without `permitted` it may issue for every name that the one above allows."""

    common_name: str
    key_type: KeyType
    lifetime: timedelta
    permitted: tuple[str, ...]
    passphrase: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Where it is. Clients trust `root_file`."""

    cert_file: Path
    key_file: Path
    root_file: Path
    directory: str
    not_after: datetime


def read(folder: Path, passphrase: bytes | None) -> Authority:
    """A CA that was made here. Raises Misconfigured, OSError."""
    cert, key = folder / CERT, folder / KEY
    with _about(cert):
        chain = Chain.of(cert.read_bytes())
    with _about(key):
        return Authority.of(chain, key.read_bytes(), passphrase)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from None


def make(wish: NewCa, parent: Authority | None, folder: Path) -> Made:
    """A new key and its certificate, in files that are not there yet. Raises Misconfigured, Refused, OSError."""
    key, at = new_key(wish.key_type), now()
    if parent is None:
        made = new_ca.root(
            wish.common_name, key, new_serial(), now=at, lifetime=wish.lifetime, permitted=wish.permitted
        )
    else:
        made = new_ca.intermediate(
            parent, wish.common_name, key, new_serial(), now=at, lifetime=wish.lifetime, permitted=wish.permitted
        )
    chain = made.chain
    _write_new(folder, {KEY: _locked(made, wish.passphrase), CERT: _pem(*chain.certificates), ROOT: _pem(chain.top)})
    return Made(
        cert_file=folder / CERT,
        key_file=folder / KEY,
        root_file=folder / ROOT,
        directory=chain.directory,
        not_after=chain.ends,
    )


def write_crl(settings: OwnCa, database: Database, path: Path) -> x509.CertificateRevocationList:
    """The next list, DER at the path and PEM beside it, each whole or as it was. Raises Refused, OSError."""
    made = own_ca(settings, database).crl()
    for target, encoding in ((path, serialization.Encoding.DER), (pem_beside(path), serialization.Encoding.PEM)):
        _replace(target, made.public_bytes(encoding))
    return made


def pem_beside(path: Path) -> Path:
    """Where the PEM form of a list is."""
    return path.with_name(f"{path.name}.pem")


def _locked(made: Authority, passphrase: bytes | None) -> bytes:
    how = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    return made.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _write_new(folder: Path, files: Mapping[str, bytes]) -> None:
    """All of them, or none. The key is for its owner alone."""
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        raise Refused(f"{folder / there[0]} is there already, and no CA is overwritten: choose another folder")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, content in files.items():
            written.append(_created(folder / name, content, 0o600 if name == KEY else 0o644))
    except BaseException:
        for path in written:
            path.unlink()
        raise


def _created(path: Path, content: bytes, mode: int) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor has no path
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    return path


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        beside.unlink()
    _created(beside, content, 0o644).replace(path)
