"""Which certificate a command is about: by its id, or by its exact set of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from knit.cli.complete import ids, sets_of_names

if TYPE_CHECKING:
    from knit.core.model.certificate import CertId
    from knit.core.model.listing import Listed
    from knit.ports.list import Certs

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


def named(certs: Certs, which: str) -> Listed:
    """The certificate with this id, or the one that has this name. Raises NoSuchCertificate, Misconfigured."""
    from knit.core.names import normalise_one
    from knit.errors import Misconfigured, NoSuchCertificate

    if which.isascii() and which.isdigit() and 0 < int(which) <= LARGEST_ID:
        return certs.one(int(which))  # type: ignore[arg-type]
    name = normalise_one(which)
    found = [cert for cert in certs.listing() if name in (one.lower() for one in cert.names)]
    if not found:
        raise NoSuchCertificate(f"no certificate has the name {name}")
    if len(found) > 1:
        raise Misconfigured(f"several certificates have the name {name}: {', '.join(str(cert.id) for cert in found)}")
    return found[0]
