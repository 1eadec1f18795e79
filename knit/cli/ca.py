"""ca: a CA of your own: its making, and its list of revoked certificates."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knit.cli import complete
from knit.cli.goflags import ANSWERS_HELP, Command, Group
from knit.cli.output import as_json, instant, json_flag
from knit.cli.session import connected, settings
from knit.core.model.keys import KeyType

if TYPE_CHECKING:
    from knit.app.own_ca import Made
    from knit.settings.own_issuers import OwnCa

ROOT_LIFETIME, LIFETIME = timedelta(days=3650), timedelta(days=1825)
LONGEST_LIFETIME = timedelta(days=36_500)
LONGEST_NAME, LONGEST_PASSPHRASE = 64, 1023
"""In bytes: RFC 5280 (ub-common-name), and what OpenSSL takes."""


@click.group(name="ca", cls=Group, context_settings=ANSWERS_HELP)
def ca_command() -> None:
    """Make a CA of your own, and write its list of revoked certificates."""


@ca_command.command(cls=Command, name="init", short_help="Make a root, or an intermediate below one.")
@click.option("--cn", required=True, metavar="NAME", help="Common name of the CA.")
@click.option("--out", required=True, metavar="DIR", help="Folder for ca.pem, ca.key and root.pem.")
@click.option("--key-type", metavar="TYPE", default="ec384", help=f"{', '.join(KeyType)}.  [default: ec384]")
@click.option("--lifetime", metavar="TIME", help="How long it is valid.  [default: 3650d, an intermediate 1825d]")
@click.option("--permitted", metavar="NAMES", help="Names it may issue for, with all below them, separated by commas.")
@click.option("--intermediate-of", metavar="DIR", help="Folder of the CA above it.  [default: none, it is a root]")
@click.option("--passphrase-file", metavar="FILE", help="Encrypt the key with the passphrase in this file.")
@click.option("--ask-passphrase", is_flag=True, help="Encrypt the key with a passphrase that is asked for.")
@click.option("--parent-passphrase-file", metavar="FILE", help="Passphrase of the CA above it.  [default: asked for]")
@json_flag
def init(
    *,
    cn: str,
    out: str,
    key_type: str,
    lifetime: str | None,
    permitted: str | None,
    intermediate_of: str | None,
    passphrase_file: str | None,
    ask_passphrase: bool,
    parent_passphrase_file: str | None,
    as_records: bool,
) -> None:
    """Make a root, or with --intermediate-of a CA below one. Nothing is overwritten, and no server is needed.

    The folder then holds ca.pem and ca.key, which the file of issuers names, and root.pem, which clients trust.
    """
    from knit.app import own_ca

    if passphrase_file is not None and ask_passphrase:
        raise click.UsageError("--passphrase-file and --ask-passphrase: say one of them")
    if key_type not in tuple(KeyType):
        raise click.BadParameter(f"{key_type!r} must be one of {', '.join(KeyType)}", param_hint="--key-type")
    wish = own_ca.NewCa(
        common_name=_common_name(cn),
        key_type=KeyType(key_type),
        lifetime=_lifetime(lifetime, LIFETIME if intermediate_of else ROOT_LIFETIME),
        permitted=_permitted(permitted),
        passphrase=_asked("passphrase of the new key") if ask_passphrase else _of_file(passphrase_file),
    )
    parent = None
    if intermediate_of is not None:
        parent = own_ca.read(Path(intermediate_of), _parents(Path(intermediate_of), parent_passphrase_file))
    made = own_ca.make(wish, parent, Path(out).absolute())
    if as_records:
        fields = ("cert_file", "key_file", "root_file")
        named = {name: str(getattr(made, name)) for name in fields}
        as_json({"result": "made", **named, "directory": made.directory, "not_after": made.not_after})
    else:
        click.echo(_next(made, encrypted=wish.passphrase is not None))
        if parent is None and not wish.permitted:
            click.echo("It may issue for every name there is: --permitted would bind it, and whoever steals its key.")


@ca_command.command(cls=Command, name="crl", short_help="Write the list of revoked certificates.")
@click.option("--issuer", required=True, metavar="NAME", help="Whose list.", shell_complete=complete.issuers)
@click.option("--out", required=True, metavar="FILE", help="Where to: DER here, PEM in FILE.pem.")
@json_flag
def crl(*, issuer: str, out: str, as_records: bool) -> None:
    """Write the next list of revoked certificates of an issuer of kind ca; it takes the place of the last one.

    Needs the CA's key, so it runs where workers do.
    """
    from knit.app.own_ca import pem_beside, write_crl
    from knit.core.issuers import refusal
    from knit.errors import Misconfigured

    central = settings()
    if not (path := Path(out)).name or path.is_dir():
        raise click.BadParameter(f"{out!r} must be a file", param_hint="--out")
    found = _own(issuer)
    with connected(central) as console:
        if (why := refusal(found.terms, console.issuers.recall(issuer))) is not None:
            raise Misconfigured(why)
        made = write_crl(found, console.database, path)
    number = _number(made)
    if as_records:
        record = {"result": "written", "der_file": str(path), "pem_file": str(pem_beside(path)), "number": number}
        as_json(record | {"revoked": len(made), "next_update": made.next_update_utc})
    else:
        click.echo(
            f"list {number} is written to {path} and {pem_beside(path)}; revoked certificates: {len(made)}; "
            f"the next one must be there before {instant(made.next_update_utc)}"
        )


def _own(name: str) -> OwnCa:
    from knit.errors import Misconfigured
    from knit.settings.environment import Environment
    from knit.settings.issuers import described
    from knit.settings.own_issuers import OwnCa

    who = described(Environment.of_process())
    terms = next((terms for terms in who.terms if terms.name == name), None)
    if terms is None:
        raise Misconfigured(f"issuer {name!r} is not configured here")
    one = who.one(name) if terms.kind == "ca" else None
    if not isinstance(one, OwnCa):
        raise Misconfigured(f"issuer {name} is of kind {terms.kind}: only one of kind ca has a list here")
    return one


def _number(made: object) -> int:
    from cryptography import x509

    assert isinstance(made, x509.CertificateRevocationList)
    return made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _common_name(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.encode(errors="replace")) <= LONGEST_NAME:
        raise click.BadParameter(f"must be 1 to {LONGEST_NAME} bytes of printable characters", param_hint="--cn")
    return text


def _lifetime(text: str | None, default: timedelta) -> timedelta:
    from knit.core import words

    try:
        found = default if text is None else words.duration(text, LONGEST_LIFETIME)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} must be {error}", param_hint="--lifetime") from None
    if found < timedelta(days=1):
        raise click.BadParameter(f"{text!r} must be a day or more", param_hint="--lifetime")
    return found


def _permitted(text: str | None) -> tuple[str, ...]:
    from knit.core.names import subtree

    return () if text is None else tuple(dict.fromkeys(subtree(name) for name in text.split(",")))


def _of_file(path: str | None, option: str = "--passphrase-file") -> bytes | None:
    if path is None:
        return None
    try:
        found = Path(path).read_bytes().rstrip(b"\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise click.BadParameter(f"{path!r} cannot be read ({why})", param_hint=option) from None
    if not 0 < len(found) <= LONGEST_PASSPHRASE:
        message = f"{path!r} must hold a passphrase of 1 to {LONGEST_PASSPHRASE} bytes"
        raise click.BadParameter(message, param_hint=option)
    return found


def _parents(folder: Path, path: str | None) -> bytes | None:
    """Asked for only where it is needed."""
    if path is not None or b"ENCRYPTED" not in (folder / "ca.key").read_bytes():
        return _of_file(path, "--parent-passphrase-file")
    return _asked(f"passphrase of {folder / 'ca.key'}", "--parent-passphrase-file", twice=False)


def _asked(what: str, otherwise: str = "--passphrase-file", *, twice: bool = True) -> bytes:
    if not sys.stdin.isatty():
        raise click.UsageError(f"the {what} can only be asked for at a terminal: name its file with {otherwise}")
    text: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    if len(found := text.encode(errors="surrogateescape")) > LONGEST_PASSPHRASE:
        raise click.UsageError(f"the {what} must have {LONGEST_PASSPHRASE} bytes at most")
    return found


def _next(made: Made, *, encrypted: bool) -> str:
    """What is left to do."""
    passphrase = 'passphrase_file = "…"      # a file with its passphrase\n' if encrypted else ""
    return f"""\
made a CA, valid until {instant(made.not_after)}

In the file of issuers (KNIT_ISSUERS_FILE), on every host that runs workers or commands; ca.pem is read by all of them,
ca.key by workers alone:

[issuer.inside]
kind = "ca"
cert_file = "{made.cert_file}"
key_file = "{made.key_file}"
{passphrase}
Clients have to trust {made.root_file}. Keep a copy of the key where no worker is."""
