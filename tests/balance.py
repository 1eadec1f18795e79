"""Which tests the processes of a parallel run take first: the long ones, so that none of them is left at the end."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

ACCEPTANCE, INTEGRATION = "tests/acceptance", "tests/integration"
ALONE = (
    f"{ACCEPTANCE}/test_dns_delegated.py",
    f"{ACCEPTANCE}/test_secrets.py",
    f"{ACCEPTANCE}/test_faults.py",
    f"{ACCEPTANCE}/test_concurrency.py",
    f"{ACCEPTANCE}/test_one_process.py",
    f"{ACCEPTANCE}/test_two_hundred.py",
    f"{INTEGRATION}/test_fallback.py",
    f"{INTEGRATION}/test_revoking.py",
    f"{INTEGRATION}/test_flows.py",
    f"{INTEGRATION}/test_replacing.py",
    f"{ACCEPTANCE}/test_idle_log.py",
    f"{ACCEPTANCE}/test_waiting.py",
    f"{INTEGRATION}/node/test_state.py",
    f"{ACCEPTANCE}/test_outages.py",
    f"{INTEGRATION}/test_kept_orders.py",
    f"{INTEGRATION}/test_lost_account.py",
    f"{INTEGRATION}/test_account_upkeep.py",
    f"{INTEGRATION}/test_own_ca.py",
    f"{ACCEPTANCE}/test_",
    f"{INTEGRATION}/test_held_rows.py",
    f"{INTEGRATION}/test_signals.py",
    f"{INTEGRATION}/test_scheduler.py",
    f"{INTEGRATION}/node/test_process.py",
    f"{INTEGRATION}/store/test_pooler.py",
    f"{INTEGRATION}/store/test_database.py",
    f"{INTEGRATION}/dns/test_bounds.py",
    f"{INTEGRATION}/dns/test_hostile.py",
)
"""Files whose tests take seconds each, the longest first: a process takes one test of them at a time."""

WHOLE = (
    "tests/simulation/",
    f"{ACCEPTANCE}/test_bad_input.py",
    f"{INTEGRATION}/acme/",
    f"{INTEGRATION}/test_",
    f"{INTEGRATION}/node/",
    f"{INTEGRATION}/store/",
    f"{INTEGRATION}/",
    "tests/contract/",
    "tests/migration/",
    "tests/test_",
    "tests/unit/workers/",
)
"""All others are taken by the file, so that what its tests share is made once; these before the rest."""

ORDER = (*ALONE, *WHOLE)


class Balanced(LoadScopeScheduling):  # type: ignore[misc] # xdist says nothing of its types
    """Hands out in the order of `ORDER`."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return nodeid if _is_alone(path) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Balanced:
    """Called in the process that hands out."""
    # Else it would begin with the file that has the most tests, which are short.
    config.option.loadscopereorder = False
    return Balanced(config, log)


def pytest_collection() -> None:
    """Each process collects all tests: without the collector of garbage, of which there is none, in three quarters."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was collected stays to the end: nobody looks through it again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Called in each process that runs tests, after they were shuffled: each file's tests stay as they were then."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(item.nodeid.partition("::")[0]))


def _is_alone(path: str) -> bool:
    return path.startswith(ALONE) and path not in WHOLE


def _place(path: str) -> tuple[int, str]:
    order = WHOLE if path in WHOLE else ORDER
    found = next((prefix for prefix in order if path.startswith(prefix)), None)
    return (len(ORDER) if found is None else ORDER.index(found)), path
