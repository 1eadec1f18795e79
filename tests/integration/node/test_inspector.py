from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from knit.errors import BundleMismatch, Transient
from knit.node import inspector as inspector_module
from knit.node.inspector import Inspector
from tests.integration.node import pki
from tests.integration.node.conftest import Node, Publisher

GOOD = pki.pair()
MARK = b"-----BEGIN CERTIFICATE-----\nMARK"


def der(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def number(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def armoured(label: str, raw: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(raw).decode()}-----END {label}-----\n".encode()


def huge_key(bits: int) -> bytes:
    """An RSA key of so many bits, whose numbers agree with each other; nobody has made sure of primes."""
    p, q = (1 << bits // 2) - 1, (1 << bits // 2) - 3
    n, e = p * q, 65537
    d = pow(e, -1, (p - 1) * (q - 1)) if (p - 1) * (q - 1) % e else 3
    numbers = [0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]
    return armoured("RSA PRIVATE KEY", der(0x30, b"".join(map(number, numbers))))


def version(bundle: Bundle, to: int) -> Bundle:
    """The same, with an X.509 version that may not exist."""
    leaf, _, rest = bundle.fullchain.partition(b"-----END CERTIFICATE-----\n")
    raw = base64.b64decode(b"".join(leaf.split(b"\n")[1:]))
    changed = raw.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + bytes([to]), 1)
    assert changed != raw
    return Bundle(fullchain=armoured("CERTIFICATE", changed) + rest, privkey=bundle.privkey)


ODD_PAIRS = {
    "version 7": version(GOOD, 7),
    "version -1": version(GOOD, 255),
    "RSA of 160,000 bits": Bundle(fullchain=GOOD.fullchain, privkey=huge_key(160_000)),
    "RSA of 40,000 bits": Bundle(fullchain=GOOD.fullchain, privkey=huge_key(40_000)),
    "RSA of 16,000 bits": Bundle(fullchain=GOOD.fullchain, privkey=huge_key(16_000)),
    "250 kB of blank lines in the key": Bundle(fullchain=GOOD.fullchain, privkey=b"\n" * 250_000),
    "250 kB of letters": Bundle(
        fullchain=GOOD.fullchain + b"-----BEGIN CERTIFICATE-----\n" + b"A\n" * 100_000, privkey=GOOD.privkey
    ),
    "blanks that never end": Bundle(fullchain=b" \t" * 120_000 + b"x", privkey=GOOD.privkey),
    "bytes": Bundle(fullchain=bytes(range(256)) * 500, privkey=bytes(range(256))),
}


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    with closing(Inspector(os.environ)) as inspector:
        inspector.facts(pki.pair())
        yield inspector


@pytest.mark.parametrize(
    ("names", "common", "primary"),
    [
        (("a.test", "www.test"), "www.test", "www.test"),
        (("a.test", "WWW.test"), "Www.Test", "www.test"),
        (("b.test", "a.test"), "leaf", "b.test"),
        (("*.test", "test"), None, "*.test"),
    ],
)
def test_the_primary_name_is_the_common_name_where_that_is_one_of_the_names_and_else_the_first(
    inspector: Inspector, names: tuple[str, ...], common: str | None, primary: str
) -> None:
    facts = inspector.facts(pki.pair(*names, common=common))
    assert facts.primary == primary
    assert facts.names == {name.lower() for name in names}


@pytest.mark.parametrize("name", ODD_PAIRS)
def test_whatever_a_pair_is_it_is_judged_within_a_second_and_delays_no_other(inspector: Inspector, name: str) -> None:
    started = time.monotonic()
    with pytest.raises(BundleMismatch):
        inspector.facts(ODD_PAIRS[name])
    assert inspector.facts(GOOD).names == {"www.test"}
    assert time.monotonic() - started < 3


SICK = """
import builtins, os, time
real = builtins.__import__
def sick(name, *rest, **more):
    module = real(name, *rest, **more)
    if name == "knit.core.readable" and not hasattr(module, "sick"):
        module.sick, inspect = True, module.inspect
        def looked(fullchain, privkey):
            with open({log!r}, "a") as log:
                log.write("asked\\n")
            if fullchain.startswith(b"SICK"):
                {what}
            return inspect(fullchain, privkey)
        module.inspect = looked
    return module
builtins.__import__ = sick
"""


class Sick:
    """An inspector whose process does something odd when it is asked about a certain pair."""

    def __init__(self, folder: Path, what: str) -> None:
        self._log = folder / "asked"
        (folder / "sitecustomize.py").write_text(SICK.format(log=str(self._log), what=what))
        self.environment = {**os.environ, "PYTHONPATH": str(folder)}

    @property
    def asked(self) -> int:
        return len(self._log.read_text().splitlines())


ENDLESS = (
    "exec('import signal as s; s.setitimer(s.ITIMER_PROF, s.getitimer(s.ITIMER_PROF)[0] / 10)\\nwhile True: pass')"
)
"""In a tenth of the time that is left to it."""

PAIR_OF_SICKNESS = Bundle(fullchain=b"SICK", privkey=b"")


@pytest.mark.parametrize(
    ("what", "words", "times"),
    [
        ("raise RuntimeError('library')", "RuntimeError", 1),
        ("raise BaseException", "BaseException", 1),
        ("raise MemoryError", "MemoryError", 1),
        ("bytes(1 << 40)", "MemoryError", 1),
        ("os.abort()", "dies of it", 2),
        ("os._exit(3)", "dies of it", 2),
        ("os.kill(os.getpid(), 11)", "dies of it", 2),
        (ENDLESS, "too long", 1),
    ],
)
def test_a_pair_that_the_library_cannot_bear_is_judged_once(tmp_path: Path, what: str, words: str, times: int) -> None:
    sick = Sick(tmp_path, what)
    with closing(Inspector(sick.environment)) as inspector:
        for _ in range(3):
            with pytest.raises(BundleMismatch, match=words):
                inspector.facts(PAIR_OF_SICKNESS)
            inspector.close()
        assert sick.asked == times
        assert inspector.facts(GOOD).names == {"www.test"}


def test_a_process_that_is_killed_or_stands_still_is_no_fault_of_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector_module, "SECONDS", 3)
    for what, words in (("os.kill(os.getpid(), 9)", "killed"), ("time.sleep(60)", "no answer")):
        with closing(Inspector(Sick(tmp_path, what).environment)) as inspector:
            with pytest.raises(Transient, match=words):
                inspector.facts(PAIR_OF_SICKNESS)
            # Nor is it asked again in this pass.
            started = time.monotonic()
            with pytest.raises(Transient, match=words):
                inspector.facts(GOOD)
            assert time.monotonic() - started < 2.5
            inspector.close()
            assert inspector.facts(GOOD).names == {"www.test"}


@pytest.mark.parametrize("damage", ["raise ImportError('no such library')", "import os; os._exit(1)", "1/0"])
def test_a_library_that_is_broken_is_one_line_and_no_traceback(
    node: Node, publisher: Publisher, tmp_path: Path, damage: str
) -> None:
    shadow = tmp_path / "shadow" / "cryptography"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()
    (shadow / "x509.py").write_text(damage)
    for number_ in range(5):
        publisher.pair(f"cert:{number_}", pki.pair(), name=f"n{number_}")
    process = node.process("--once", PYTHONPATH=str(tmp_path / "shadow"))
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "Traceback" not in errors
    said = [line for line in errors.splitlines() if "ERROR" in line]
    (line,) = said
    assert "count=5" in line
    assert "the process that checks certificates c" in line


def test_a_refused_pair_is_not_looked_into_again_at_each_look(node: Node, publisher: Publisher, tmp_path: Path) -> None:
    sick = Sick(tmp_path, "raise RuntimeError")
    publisher.pair("cert:a", PAIR_OF_SICKNESS)
    publisher.pair("cert:b", GOOD, name="good")
    node = node.with_settings(child_environment=sick.environment)
    loop = node.start()
    for _ in range(3):
        assert not loop.once()
    assert sick.asked == 2
    assert node.files() == {"good.pem", "good.key"}
