"""A machine with the servers that serve certificates, as Debian packages them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from rig.machine import Machine
from rig.tls_servers import PACKAGES
from tests.fix_rig import provided


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One for the tests of a file: what they start on it runs until the last of them is done."""
    with closing(provided(lambda: Machine(*PACKAGES))) as machine:
        yield machine
