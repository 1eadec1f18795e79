"""When a failed certificate is tried again: Let's Encrypt's advice, 1, 10, 100 minutes, then once a day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256

from knit.core.model.certificate import CertId

LADDER = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
SPREAD = 0.2
SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(hours=48)
LONGEST_ASKED = timedelta(days=7)
APART = timedelta(seconds=30)
"""Certificates that wait for one instant come back one after the other within this."""
FLOOR = timedelta(minutes=1)
LONGEST_FLOOR = timedelta(hours=1)
MAX_STARTS = 3
OUTAGE_FIRST = timedelta(seconds=1)
OUTAGE_LONGEST = timedelta(minutes=5)


def fraction(cert_id: CertId, salt: str) -> float:
    """A number from 0 to 1 that is always the same for this certificate and salt, and evenly spread over ids."""
    digest = sha256(f"{cert_id}:{salt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def next_try(cert_id: CertId, failures: int, now: datetime, asked: datetime | None = None) -> datetime:
    """The instant of the next try after `failures` failures in a row (at least 1).

    `asked` is what the other side said in Retry-After: it wins, kept between one second and 48 hours from now.
    """
    if asked is not None:
        return min(max(asked, now + SHORTEST), now + LONGEST)
    step = LADDER[min(max(failures, 1), len(LADDER)) - 1]
    return now + step * (1 + SPREAD * (2 * fraction(cert_id, f"retry {failures}") - 1))


def limited(refusals: int, now: datetime, asked: datetime | None) -> datetime:
    """The end of the wait after being told `refusals` times in a row (at least once) that we ask too often.

    `asked` is what the other side said in Retry-After: it can make the wait longer, up to 48 hours. Without it, or
    when it is soon, the wait is a minute, and twice as long each time up to an hour.
    """
    floor = min(FLOOR * (1 << min(max(refusals, 1) - 1, 10)), LONGEST_FLOOR)
    return now + floor if asked is None else min(max(asked, now + floor), now + LONGEST)


def again(tries: int) -> timedelta:
    """How long work that met an outage of a server waits after so many vain tries: it doubles, up to five minutes."""
    return min(OUTAGE_FIRST * (1 << min(tries, 20)), OUTAGE_LONGEST)


def scattered(wait: timedelta, cert_id: CertId, tries: int) -> timedelta:
    """Half of the wait to all of it: certificates that wait for the same thing do not come back together."""
    return wait * (1 + fraction(cert_id, f"busy {tries}")) / 2


def retry_after(value: str | None, now: datetime) -> datetime | None:
    """Retry-After (RFC 9110 section 10.2.3: seconds or a date) as an instant from now to a week from now.

    Whatever else is sent counts as absent.
    """
    text = "" if value is None else value.strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return now + min(timedelta(seconds=int(text)), LONGEST_ASKED)
    try:
        found = parsedate_to_datetime(text)
        aware = found if found.tzinfo else found.replace(tzinfo=UTC)
        return now + min(max(aware - now, timedelta(0)), LONGEST_ASKED)
    except (ValueError, TypeError, IndexError, OverflowError):
        # The library's parser fails in each of these ways on what is no date.
        return None
