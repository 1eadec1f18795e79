"""Looks for secrets where they must not be, in every form in which software is known to leak them."""

from __future__ import annotations

import base64
import os
import re
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rig.lifeline import LIFELINE
from rig.valkey import Valkey

KEY_BLOCK = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----.+?-----END (?:EC )?PRIVATE KEY-----", re.DOTALL)
ESCAPE = re.compile(rb"\\+(x[0-9a-fA-F]{2}|u00[0-9a-fA-F]{2}|.)", re.DOTALL)
LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
SPACE = re.compile(rb"\s+")
SAMPLE_EVERY = 0.1


def unescaped(data: bytes) -> bytes:
    """The data with the escapes of JSON, C, Python and Valkey's MONITOR undone, however often they were applied."""

    def plain(match: re.Match[bytes]) -> bytes:
        word = match[1]
        if len(word) > 1:
            return bytes([int(word[-2:], 16)])
        return LETTERS.get(word, word)

    return ESCAPE.sub(plain, data)


def key_blocks(data: bytes) -> set[bytes]:
    """Every private key in PEM, from data that may be escaped."""
    return {match + b"\n" for match in KEY_BLOCK.findall(unescaped(data))}


def needles(secret: bytes) -> dict[str, bytes]:
    """What to look for: the bytes themselves, hexadecimal, and base64 as it looks at each of three offsets."""
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    for offset in range(3):
        # What the bytes before and after would change is left out.
        shifted = base64.b64encode(b"\0" * offset + secret)
        inside = shifted[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        found[f"base64 at {offset}"] = inside
        found[f"base64url at {offset}"] = inside.translate(bytes.maketrans(b"+/", b"-_"))
    return found


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by the halves of its bytes, so that a text that was cut off is seen too."""

    name: str
    parts: tuple[bytes, ...]

    @classmethod
    def of_key(cls, name: str, pem: bytes) -> Secret:
        """The private number of an EC key: every encoding of the key holds it."""
        key = cast("EllipticCurvePrivateKey", load_pem_private_key(pem, None))
        scalar = key.private_numbers().private_value.to_bytes(32, "big")
        return cls(name, (scalar[:16], scalar[16:]))

    @classmethod
    def of_text(cls, name: str, text: str) -> Secret:
        """A password."""
        return cls(name, (text.encode(),))


def leaks(secrets: Iterable[Secret], places: Mapping[str, bytes]) -> list[str]:
    """One line for each secret in each place that holds it. Never the secret."""
    prepared = {}
    for place, data in places.items():
        plain = unescaped(data)
        prepared[place] = b"\0".join({data, plain, SPACE.sub(b"", data), SPACE.sub(b"", plain)})
    return [
        f"{secret.name} in {place} as {form}"
        for place, data in prepared.items()
        for secret in secrets
        for form in sorted({form for part in secret.parts for form, needle in needles(part).items() if needle in data})
    ]


def files_below(folder: Path) -> bytes:
    """The contents of all files below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return b"\n".join(path.read_bytes() for path in paths)


class Monitor:
    """Records every command that a Valkey is sent, as its MONITOR tells them."""

    def __init__(self, server: Valkey) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self._socket.sendall(b"MONITOR\r\n")
        self._socket.settimeout(None)
        self._chunks: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """What was recorded so far."""
        return b"".join(self._chunks)

    def close(self) -> None:
        """Stop recording."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        while chunk := self._socket.recv(1 << 16):
            self._chunks.append(chunk)


@dataclass(slots=True)
class ProcessSampler:
    """Collects the arguments and environments of every process that this test run has started, again and again."""

    arguments: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._sample_all, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _sample_all(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        mark = f"RIG_RUN={LIFELINE.token}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            if entry.name == str(os.getpid()):
                continue
            try:
                environment = (entry / "environ").read_bytes()
                if mark in environment:
                    self.environments.add(environment)
                    self.arguments.add((entry / "cmdline").read_bytes())
            except OSError:
                continue  # It has just ended, or is another user's.
