"""Pairs of files below a folder, as a node keeps them: public keys tell which key belongs to which chain."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from knit.core.model.certificate import Bundle
from knit.errors import KnitError, Misconfigured, Refused
from knit.tls.pairs import Pair

LARGEST = 256 * 1024
DEPTH = 8
YOUNG = 0.1
"""Seconds: a file that has changed just now may change again without its times telling."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----[ \t]*\r?\n?", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ((?:EC |RSA )?PRIVATE KEY)-----.*?-----END \1-----[ \t]*\r?\n?", re.DOTALL)

Sign = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What is in a file, as far as it is part of a pair; `leaf` and `key` are hashes of public keys."""

    sign: Sign | None
    chain: bytes = field(default=b"", repr=False)
    privkey: bytes = field(default=b"", repr=False)
    leaf: str | None = None
    key: str | None = None
    authority: bool = False
    complaint: str | None = None


class Folder:
    """The pairs below a folder. A pair that is broken, or half written, does not take the place of the one before."""

    def __init__(self, path: str, check: Callable[[Pair], None]) -> None:
        """`check` raises Refused for a pair that cannot be served; it is asked about those that replace another."""
        self._path = path
        self._check = check
        self._files: dict[str, _File] = {}
        self._missed: set[str] = set()
        self.pairs: dict[str, Pair] = {}
        self.complaints: dict[str, str] = {}

    def look(self) -> bool:
        """Look at what has changed; whether anything has. Raises Misconfigured where the folder cannot be read."""
        found = self._read()
        if found == self._files and not self._missed:
            return False
        if not found and self.pairs:
            self.complaints = {self._path: "nothing is there, keeping what was"}
            return True
        self._files = found
        self._match()
        return True

    def wait(self, seconds: float, stop: Event) -> None:
        """Until it is time for another look."""
        stop.wait(seconds)

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self) -> dict[str, _File]:
        found = {}
        for path, about in sorted(_files_below(self._path)):
            sign = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            known = self._files.get(path)
            file = known if known is not None and known.sign == sign else _parsed(path, sign)
            if file is None and known is not None:
                file = _File(sign=None, complaint="it no longer holds certificates or a key")
            if file is not None:
                found[path] = file
        return found

    def _match(self) -> None:
        keys = {file.key: file.privkey for file in self._files.values() if file.key is not None}
        complaints = {path: file.complaint for path, file in self._files.items() if file.complaint is not None}
        pairs: dict[str, Pair] = {}
        for path, file in self._best(keys.keys()):
            before = self.pairs.get(path)
            try:
                pairs[path] = self._pair(path, file, keys.get(file.leaf or ""), before)
            except KnitError as error:
                complaints[path] = str(error)
        missed = self.pairs.keys() - self._files.keys()
        # One that is gone may be about to be written anew: it goes at the second look.
        pairs |= {path: self.pairs[path] for path in self.pairs.keys() & complaints.keys() | missed - self._missed}
        self._missed = missed - self._missed
        used = {file.leaf for file in self._files.values()}
        for path, file in self._files.items():
            if file.key is not None and file.key not in used:
                complaints[path] = "no certificate here has this key"
        self.pairs, self.complaints = pairs, complaints

    def _best(self, keys: Collection[str]) -> Iterator[tuple[str, _File]]:
        """The files with chains; of several with one leaf, the one with the most certificates.

        A CA's certificates without their key are the chain of another.
        """
        best: dict[bytes, str] = {}
        chains = {
            path: file
            for path, file in self._files.items()
            if file.leaf is not None and (file.leaf in keys or not file.authority)
        }
        for path, file in chains.items():
            leaf = _CERTIFICATE.match(file.chain)
            assert leaf is not None
            other = best.setdefault(leaf.group().strip(), path)
            if len(file.chain) > len(chains[other].chain):
                best[leaf.group().strip()] = path
        kept = set(best.values())
        return ((path, file) for path, file in chains.items() if path in kept)

    def _pair(self, path: str, file: _File, privkey: bytes | None, before: Pair | None) -> Pair:
        if privkey is None:
            raise Refused("no key here belongs to this certificate")
        bundle = Bundle(fullchain=file.chain, privkey=privkey)
        if before is not None and before.bundle == bundle:
            return before
        pair = Pair.of(path, bundle)
        if before is not None:
            self._check(pair)
        return pair


def _files_below(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Plain files, by way of links too; names that begin with a dot are passed over, those of files on their way."""
    waiting, seen = [(top, 0)], set()
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == top:
                raise Misconfigured(f"{top}: cannot be read ({error.strerror})") from None
            continue
        for entry in entries:
            with suppress(OSError):
                about = entry.stat()
                if entry.name.startswith("."):
                    continue
                if stat.S_ISREG(about.st_mode):
                    yield entry.path, about
                elif stat.S_ISDIR(about.st_mode) and depth < DEPTH and (about.st_dev, about.st_ino) not in seen:
                    seen.add((about.st_dev, about.st_ino))
                    waiting.append((entry.path, depth + 1))


def _parsed(path: str, sign: Sign) -> _File | None:
    """The file; None for one that is no part of a pair."""
    settled = time.time_ns() - sign[-1] > YOUNG * 1e9
    kept = sign if settled else None
    try:
        # What lies there by now may be a pipe, which is not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(LARGEST + 1) or b""
    except OSError as error:
        return _File(sign=kept, complaint=f"cannot be read ({error.strerror})")
    if b"-----BEGIN " not in content and content.strip():
        return None
    try:
        return _classified(content, kept)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return _File(sign=kept, complaint=str(error) if type(error) is ValueError else "holds what cannot be read")


def _classified(content: bytes, sign: Sign | None) -> _File:
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    chain = b"".join(_CERTIFICATE.findall(content))
    keys = [match.group() for match in _KEY.finditer(content)]
    if _KEY.sub(b"", _CERTIFICATE.sub(b"", content)).strip() or len(keys) > 1 or not (chain or keys):
        raise ValueError("it holds something else than whole PEM certificates and at most one key")
    leaf = x509.load_pem_x509_certificate(chain) if chain else None
    privkey = keys[0] if keys else b""
    return _File(
        sign=sign,
        chain=chain,
        privkey=privkey,
        leaf=None if leaf is None else _hash(leaf.public_key()),
        authority=leaf is not None and _is_authority(leaf),
        key=_hash(load_pem_private_key(privkey, None, unsafe_skip_rsa_key_validation=True).public_key())
        if keys
        else None,
    )


def _is_authority(leaf: x509.Certificate) -> bool:
    """Whether it is a CA's: a file of such is the chain without its leaf."""
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hash(public: object) -> str:
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return hashlib.sha256(spki).hexdigest()
