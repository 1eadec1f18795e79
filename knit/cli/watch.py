"""watch: hands this process over to the node's loop, so that a node does not carry the command line in memory."""

from __future__ import annotations

import os
import sys

import click

from knit.cli.goflags import Command
from knit.node import start


@click.command(cls=Command, lenient=True)
@click.option("--once", is_flag=True, help="One look at everything, then exit; 1 if anything failed.")
def watch_command(*, once: bool) -> None:
    """Keep this node's certificate files as Valkey has them, and reload what uses them. Needs no PostgreSQL."""
    start.hold()
    arguments = ["-P", "-m", "knit.node", *(["--once"] if once else [])]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 -- ourselves, and no shell
