"""Host names as certificates carry them: A-labels, lower case, wildcards only as the whole first label."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from knit.errors import Misconfigured

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
LONGEST_LABEL = 63
PREFIX = "xn--"
"""Begins a label that stands for letters beyond ASCII (RFC 5890 section 2.3.2.1)."""
ADDRESS = "an IP address is proved over HTTP or TLS (RFC 8738 section 7) and never over DNS-01, which is all knit does"
LONGEST_NAME = 253 - len("_acme-challenge.")


def normalise(names: Iterable[str]) -> tuple[str, ...]:
    """Each name normalised, duplicates dropped, order kept: the first one stays primary.

    Raises Misconfigured, naming the bad name.
    """
    unique = tuple(dict.fromkeys(normalise_one(name) for name in names))
    if not unique:
        message = "at least one domain name is needed"
        raise Misconfigured(message)
    return unique


def split(text: str) -> tuple[str, ...]:
    """Names from `a,b`, as typed on the command line or stored by the original; normalised.

    Raises Misconfigured, naming the bad name.
    """
    return normalise(part for part in text.split(",") if part.strip())


def covered(names: Iterable[str]) -> tuple[str, str] | None:
    """A normalised name that stands beside a wildcard that covers it, and that wildcard."""
    every = tuple(names)
    wildcards = (f"*.{name.partition('.')[2]}" for name in every)
    return next(((name, star) for name, star in zip(every, wildcards, strict=True) if name != star in every), None)


def key_of(names: Iterable[str]) -> str:
    """The set of normalised names as one text: what makes a certificate the same certificate."""
    return ",".join(sorted(set(names)))


def normalise_one(name: str) -> str:
    """One name; a single trailing dot is dropped. Raises Misconfigured, naming it."""
    text = name.strip().removesuffix(".")
    if _is_address(text):
        raise _bad(name, ADDRESS)
    wildcard = text.startswith("*.")
    base = _ascii(text[2:] if wildcard else text, name)
    _check(base, name)
    return f"*.{base}" if wildcard else base


def subtree(name: str) -> str:
    """One name that stands for itself and all below it, such as `internal`, normalised. Raises Misconfigured."""
    text = name.strip().removesuffix(".")
    if text.startswith("*."):
        raise _bad(name, "it stands for all below it too: leave *. out")
    base = _ascii(text, name)
    _check(base, name, fewest=1)
    return base


def a_labels(text: str) -> str:
    """A name that an API shows, as certificates carry it; whatever cannot be one is only made lower case."""
    return ".".join(label.lower() if label.isascii() else _a_label(label) for label in text.split("."))


def u_labels(text: str) -> str:
    """A name for an API that keeps international ones in letters."""
    return ".".join(_u_label(label) if label.startswith(PREFIX) else label for label in text.split("."))


def _a_label(label: str) -> str:
    import idna

    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError:
        # Signs that no name may have today, and that old ones have.
        return PREFIX + label.lower().encode("punycode").decode("ascii")


def _u_label(label: str) -> str:
    try:
        return label.removeprefix(PREFIX).encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return label


def _ascii(text: str, name: str) -> str:
    if text.isascii():
        return text.lower()
    import idna

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as e:
        raise _bad(name, f"not a valid international name ({e})") from None


def _check(base: str, name: str, *, fewest: int = 2) -> None:
    labels = base.split(".")
    if "*" in base:
        raise _bad(name, "a wildcard must be the whole first label, as in *.example.org")
    if len(base) > LONGEST_NAME:
        raise _bad(name, f"longer than {LONGEST_NAME} characters, so its _acme-challenge name cannot exist")
    for label in labels:
        _check_label(label, name)
    if len(labels) < fewest:
        raise _bad(name, "it needs at least two labels, as in example.org")
    if labels[-1].isdigit():
        raise _bad(name, ADDRESS)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _check_label(label: str, name: str) -> None:
    if not label:
        raise _bad(name, "it has an empty label")
    if len(label) > LONGEST_LABEL:
        raise _bad(name, f"a label is longer than {LONGEST_LABEL} characters")
    if not LABEL.fullmatch(label):
        raise _bad(name, f"label {label!r} may hold only letters, digits and inner hyphens")


def _bad(name: str, why: str) -> Misconfigured:
    return Misconfigured(f"domain name {name!r}: {why}")
