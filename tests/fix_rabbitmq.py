"""RabbitMQ: one server for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.rabbitmq import RabbitMQ
from tests.fix_rig import running


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The session's server: use queues of the test's own names, and do not stop it."""
    yield from running(RabbitMQ)


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> str:
    """Where the session's server takes AMQP."""
    return rabbitmq.url
