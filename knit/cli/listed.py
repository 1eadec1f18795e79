"""One certificate of the list, as text and as a record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from knit.cli.output import clean, instant, styled, table, width
from knit.core import text

if TYPE_CHECKING:
    from knit.store.certs import Listed

COLUMNS = (
    "ID", "ENABLED", "DOMAINS", "PROVIDER", "VALKEY_KEY", "CERT_PATH", "KEY_PATH", "NOT_AFTER", "LAST_RENEWED",
    "LAST_ERROR",
)  # fmt: skip
"""Those of the Go knit, in its order."""

SOON = timedelta(days=7)


def record(cert: Listed) -> dict[str, object]:
    """For `--json`."""
    return {
        "id": cert.id,
        "enabled": cert.enabled,
        "domains": names(cert),
        "provider": cert.provider,
        "valkey_key": cert.valkey_key,
        "cert_path": cert.cert_path,
        "key_path": cert.key_path,
        "issuer": cert.issuer,
        "key_type": cert.key_type,
        "profile": cert.profile,
        "preferred_chain": cert.preferred_chain,
        "renew_before": None if cert.renew_before is None else duration(cert.renew_before),
        "not_after": cert.not_after,
        "last_renewed": cert.last_renewed,
        "published_at": cert.published_at,
        "last_error": None if cert.last_error is None else text.clean(cert.last_error),
        "failures": cert.failures,
        "next_try": cert.retry_at,
        "next_check": cert.check_at,
        "requested_at": cert.requested_at,
        "step": cert.step,
        "left_out": not cert.adopted,
    }


def names(cert: Listed) -> list[str]:
    """The names as stored, first one first."""
    return [name.strip() for name in cert.domains.split(",") if name.strip()]


def duration(value: timedelta) -> str:
    """As Go writes it, in the largest unit that is exact."""
    seconds = int(value.total_seconds())
    unit, size = next(((u, s) for u, s in (("h", 3600), ("m", 60)) if seconds % s == 0), ("s", 1))
    return f"{seconds // size}{unit}"


def plain(certs: Sequence[Listed]) -> list[str]:
    """The table of the Go knit."""
    return table([COLUMNS, *map(_cells, certs)])


def _cells(cert: Listed) -> tuple[str, ...]:
    return (
        str(cert.id),
        str(cert.enabled).lower(),
        clean(cert.domains),
        clean(cert.provider),
        clean(cert.valkey_key),
        clean(cert.cert_path),
        clean(cert.key_path),
        instant(cert.not_after),
        instant(cert.last_renewed),
        clean(cert.last_error or "-"),
    )


def for_a_person(certs: Sequence[Listed], now: datetime) -> list[str]:
    """The table where it fits the terminal, else a few lines for each certificate."""
    lines = plain(certs)
    if max(map(len, lines)) <= width():
        return [
            styled(lines[0], bold=True),
            *(_tinted(line, cert) for line, cert in zip(lines[1:], certs, strict=True)),
        ]
    return [line for cert in certs for line in _block(cert, now)]


def _tinted(line: str, cert: Listed) -> str:
    return styled(line, fg="red") if cert.last_error else line if cert.enabled else styled(line, dim=True)


def _block(cert: Listed, now: datetime) -> list[str]:
    facts = [
        ("provider", clean(cert.provider)),
        ("key", clean(cert.valkey_key)),
        ("files", f"{clean(cert.cert_path)}  {clean(cert.key_path)}"),
        ("expires", _expiry(cert.not_after, now)),
        ("renewed", instant(cert.last_renewed)),
        ("working on", cert.step),
        ("next try", None if cert.retry_at is None else instant(cert.retry_at)),
        ("error", None if cert.last_error is None else styled(clean(cert.last_error), fg="red")),
    ]
    shown = ", ".join(map(clean, names(cert)))
    head = f"{cert.id}  {styled(shown, bold=True)}{'' if cert.enabled else '  (disabled)'}"
    return [head, *(f"   {name:<10} {value}" for name, value in facts if value is not None)]


def _expiry(not_after: datetime | None, now: datetime) -> str:
    if not_after is None:
        return "-"
    left = not_after - now
    text = f"{instant(not_after)}  ({'in ' if left > timedelta(0) else ''}{_rough(left)})"
    return styled(text, fg="red") if left < SOON else text


def _rough(left: timedelta) -> str:
    if left <= timedelta(0):
        return "expired"
    return f"{left.days} days" if left.days > 1 else f"{left.total_seconds() / 3600:.0f} hours"
