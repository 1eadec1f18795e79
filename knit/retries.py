"""The named waiting policies; tenacity is imported nowhere else. Each owns the tries of one network step.

Tries of a whole certificate are the journal's business, not this module's.
"""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from knit.ports.process import Sleep

ACME_TRIES = 3
ACME_LONGEST_WAIT = 2.0


def acme_call(sleep: Sleep, again: Callable[[BaseException], bool]) -> Retrying:
    """One request to the CA that has failed once: three more tries, only while `again` says that it may help.

    The first at once (a kept connection may just have ended), the others up to two seconds, at random, later.
    """
    return Retrying(
        stop=stop_after_attempt(ACME_TRIES),
        wait=wait_random_exponential(multiplier=0.25, max=ACME_LONGEST_WAIT),
        retry=retry_if_exception(again),
        sleep=sleep,
        reraise=True,
    )
