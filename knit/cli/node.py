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
    from knit.core.unit import Service, commands_of, owners_of
    from knit.node.owners import found_in

    if not env_file.startswith("/"):
        raise Misconfigured(f"--env-file={env_file!r}: must be an absolute path")
    folders = _folders(settings)
    passwords = (spec.password_file for place in settings.node.places.values() for spec in place.files)
    files = (
        env.origin(name.removesuffix("_FILE")) for name in env if name.startswith("KNIT_") and name.endswith("_FILE")
    )
    return Service(
        command=_command(),
        environment_file=env_file,
        state_dir=settings.state_dir,
        folders=folders,
        owners=found_in(folders) | owners_of(settings.node),
        reads=(str(Path(sys.executable).resolve()), *files, *(path for path in passwords if path is not None)),
        runs=commands_of(settings.node),
    )


def _folders(settings: NodeSettings) -> tuple[str, ...]:
    """Those of the node file, and the roots where values say themselves where their files go."""
    from knit.core.unit import folders_of
    from knit.node.owners import standing

    folders: list[str] = []
    for place in settings.node.places.values():
        own = folders_of(place)
        folders += map(standing, own) if place.create_dirs else own
        if not own and settings.roots is None:
            message = "KNIT_WATCH_ROOTS is not set: a sandbox needs the folders that certificates are written to"
            raise Misconfigured(message)
        folders += () if own else settings.roots or ()
    return tuple(dict.fromkeys(folders))


def _command() -> tuple[str, ...]:
    """How this very installation is started."""
    script = Path(sys.executable).with_name("knit")
    return (str(script), "watch") if script.exists() else (sys.executable, "-m", "knit", "watch")
