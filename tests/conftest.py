"""Every fixture of more than one test file, by subject: see the fix_*.py beside this file."""

from __future__ import annotations

pytest_plugins = (
    "tests.fix_sockets",
    "tests.fix_postgres",
    "tests.fix_valkey",
    "tests.fix_acme",
    "tests.fix_rabbitmq",
)
