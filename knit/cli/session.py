"""What every command of the centre starts with: settings, logging, the list of certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from knit.cli.complete import ids, sets_of_names
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.app.console import Console
    from knit.core.model.certificate import CertId
    from knit.ports.list import Certs
    from knit.settings.central import Central

F = TypeVar("F", bound=Callable[..., Any])
LARGEST_ID = 2**63 - 1


class Id(click.ParamType[int]):
    """The id of a certificate."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuses what no row can have."""
        text = str(value).strip()
        if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
            self.fail(f"{text!r} is not a valid integer", param, ctx)
        if not 0 <= int(text) <= LARGEST_ID:
            self.fail(f"{text} is not in the range of ids, from 1 to {LARGEST_ID}", param, ctx)
        return int(text)


def settings() -> Central:
    """Of this process. Raises Misconfigured."""
    from knit.settings.central import Central

    return Central.read(Environment.of_process())


@contextmanager
def connected(central: Central) -> Iterator[Console]:
    """PostgreSQL over one connection, and logging as the settings say."""
    from knit.app.console import open_console
    from knit.log import setup

    setup(central.log_level)
    with open_console(central) as console:
        yield console


def selecting(command: F) -> F:
    """The flags `--id` and `--domains` of a command on one certificate."""
    by_id = click.option("--id", "cert_id", type=Id(), metavar="N", help="Id of the certificate.", shell_complete=ids)
    by_names = click.option(
        "--domains", metavar="A,B", help="Its exact set of names, in any order.", shell_complete=sets_of_names
    )
    return by_id(by_names(command))


def selected(certs: Certs, cert_id: int | None, domains: str | None) -> CertId:
    """The certificate that the flags name. Raises NoSuchCertificate."""
    if domains:
        return certs.find(domains.split(","))
    assert cert_id
    return certs.one(cert_id).id  # type: ignore[arg-type]


def check_selection(cert_id: int | None, domains: str | None) -> None:
    """Raise click.UsageError unless exactly one of the two is given; as in the Go knit, 0 and blank are not."""
    if bool(cert_id) == bool(domains and domains.strip()):
        raise click.UsageError("exactly one of --id and --domains is needed", click.get_current_context())
