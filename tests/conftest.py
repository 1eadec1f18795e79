"""Every fixture of more than one test file, by subject: see the fix_*.py beside this file."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast examples come depends on what else the machine does: pytest's own timeout is the limit.
settings.register_profile("knit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("knit")

pytest_plugins = (
    "tests.balance",
    "tests.fix_sockets",
    "tests.fix_postgres",
    "tests.fix_valkey",
    "tests.fix_acme",
    "tests.fix_rabbitmq",
    "tests.fix_machine",
)
