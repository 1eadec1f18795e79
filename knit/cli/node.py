"""node: what there is to do on a machine that takes certificates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knit.cli.edge import DONE
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.errors import Misconfigured
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.unit import Service
    from knit.settings.node import NodeSettings

ENVIRONMENT_FILE = "/etc/knit/node.env"


@click.group(name="node", cls=Group, context_settings=ANSWERS_HELP)
def node_command() -> None:
    """Look after this node."""


@node_command.command(cls=Command, name="unit", short_help="Print a systemd unit for `knit watch`.")
@click.option(
    "--env-file",
    default=ENVIRONMENT_FILE,
    metavar="PATH",
    show_default=True,
    help="The file of variables that the unit names.",
)
def unit(*, env_file: str) -> int:
    """Print a systemd unit for `knit watch`, with the sandbox that this node's settings need.

    They are taken from the environment, as `knit watch` takes them; nothing is written, and no secret is printed.
    """
    from knit.core.unit import unit as unit_of
    from knit.settings.node import NodeSettings

    env = Environment.of_process()
    settings = NodeSettings.read(env)
    click.echo(unit_of(_service(settings, env, env_file)), nl=False)
    return DONE


def _service(settings: NodeSettings, env: Environment, env_file: str) -> Service:
    from knit.core.unit import Service
    from knit.node.owners import found_in

    if settings.roots is None:
        raise Misconfigured("KNIT_WATCH_ROOTS is not set: a sandbox needs the folders that certificates are written to")
    if not env_file.startswith("/"):
        raise Misconfigured(f"--env-file={env_file!r}: must be an absolute path")
    return Service(
        command=_command(),
        environment_file=env_file,
        state_dir=settings.state_dir,
        folders=settings.roots,
        owners=found_in(settings.roots),
        reads=tuple(env[name] for name in env if name.startswith("KNIT_") and name.endswith("_FILE")),
        runs=() if settings.reload_cmd is None else (settings.reload_cmd,),
    )


def _command() -> tuple[str, ...]:
    """How this very installation is started."""
    script = Path(sys.executable).with_name("knit")
    return (str(script), "watch") if script.exists() else (sys.executable, "-m", "knit", "watch")
