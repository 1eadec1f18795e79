"""import: certificates that knit did not order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from knit.cli import listed
from knit.cli.certs import tell
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import clean, instant, json_flag
from knit.cli.selection import Id
from knit.cli.session import settings
from knit.cli.waking import changing
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.core.brought import File
    from knit.core.model.certificate import CertId
    from knit.core.model.listing import Listed
    from knit.core.wanted import Edited


@click.group(name="import", cls=Group, context_settings=ANSWERS_HELP)
def import_command() -> None:
    """Bring a certificate that knit did not order, bought or from another tool."""


@import_command.command(
    cls=Command,
    name="pem",
    short_help="A certificate and its key from PEM files.",
    epilog="The same command again, with the next certificate, takes the place of this one. knit publishes it, says "
    "when it expires, and orders nothing for it.",
)
@click.option("--fullchain", required=True, metavar="FILE", help="PEM file of the certificate, then its issuers'.")
@click.option("--privkey", required=True, metavar="FILE", help="PEM file of its key, not encrypted; may be the same.")
@click.option("--id", "cert_id", type=Id(), metavar="N", help="For this one, whatever its names.  [default: by names]")
@click.option("--valkey-key", metavar="KEY", help="Valkey key to publish under.")
@click.option("--cert-path", metavar="PATH", help="File of the full chain on the nodes.")
@click.option("--key-path", metavar="PATH", help="File of the private key on the nodes.")
@click.option(
    "--renew-before", metavar="DURATION", help="Warn with so much life left.  [default: 30d, at most a third]"
)
@json_flag
def pem(*, fullchain: str, privkey: str, cert_id: CertId | None, as_records: bool, **given: str | None) -> None:
    """Check a certificate and its key, put them on the list and publish them; what is not given stays as it is."""
    from knit.app.importing import importing
    from knit.cli.change import change_from, typed_of
    from knit.core.brought import brought
    from knit.settings.central import Worker

    texts, _ = typed_of(given)
    found = brought(_file(fullchain), _file(privkey), datetime.now(UTC))
    change = change_from({**{name: text for name, text in texts.items() if text}, "domains": ",".join(found.names)})
    worker = Worker.read(Environment.of_process(), queue_required=False, issues=False)
    with changing(settings(), quiet=True) as console, importing(worker, console) as flow:
        edited, published = flow.run(found, change, cert_id or None)
        cert = console.certs.one(edited.id)
    tell(edited, cert, as_records=as_records, word="imported" if published else None)
    if not as_records:
        click.echo("\n".join(_more(edited, cert, published=published)))


def _more(edited: Edited, cert: Listed, *, published: bool) -> list[str]:
    state = "published" if published else "published already"
    lines = [f"  {state}, valid until {instant(cert.not_after)}; a warning comes at {instant(listed.notice(cert))}"]
    if edited.before is not None and "issuer" in edited.differences:
        before = edited.before.issuer or "the default issuer"
        lines.append(f"  knit orders nothing for it any more, as it did of {clean(before)}")
    return lines


def _file(name: str) -> File:
    from knit.core.brought import LARGEST, File
    from knit.errors import Misconfigured

    try:
        with open(name, "rb") as opened:  # noqa: PTH123 -- a fifo will do, and is read no further than this
            data = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Misconfigured(f"{name}: cannot be read ({why})") from None
    if len(data) > LARGEST:
        raise Misconfigured(f"{name}: has more than {LARGEST} bytes, and is no certificate")
    return File(name=name, data=data)
