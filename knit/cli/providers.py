"""providers: which DNS providers there are, what serves each, and what is set for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from knit.cli import complete
from knit.cli.goflags import Command
from knit.cli.output import as_json, fitted, for_people, json_flag, styled, table, width, wrapped
from knit.settings.environment import Environment

if TYPE_CHECKING:
    from knit.ports.services import Described, Service, Variable

COLUMNS = ("CODE", "SERVED BY", "PROVIDER", "SET")


@click.command(
    cls=Command,
    epilog="Of what is set only names are shown. CODE@ACCOUNT looks at a second account's variables, NAME__ACCOUNT.",
)
@click.argument("code", required=False, metavar="[CODE]", shell_complete=complete.providers)
@json_flag
def providers_command(*, code: str | None, as_records: bool) -> None:
    """List all DNS providers by lego's codes, or show one: what serves it, and which variables it reads."""
    from knit.app import dns_providers

    env = Environment.of_process()
    if code is None:
        every = dns_providers.services()
        lines = [] if as_records else _list(every, env)
        _print([_record(service, env, "") for service in every] if as_records else lines, as_records=as_records)
        return
    service, account = dns_providers.service(code), code.partition("@")[2]
    _print(_record(service, env, account) if as_records else _one(service, env, account), as_records=as_records)


def _print(said: object, *, as_records: bool) -> None:
    if as_records:
        as_json(said)
        return
    assert isinstance(said, list)
    click.echo("\n".join(said))


def _list(every: Sequence[Service], env: Mapping[str, str]) -> list[str]:
    rows = [(one.code, one.driver, one.title, ", ".join(one.set_names(env)) or "-") for one in every]
    lines = _table([COLUMNS, *rows])
    return [styled(lines[0], bold=True), *lines[1:]]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """In the width that a terminal has."""
    return fitted(rows, width()) if for_people() else table(rows)


def _text(written: str) -> list[str]:
    return wrapped(written, width(), "  ") if for_people() else [written]


def _one(service: Service, env: Mapping[str, str], account: str) -> list[str]:
    head = f"{styled(service.code, bold=True)}  {service.title}"
    also = _text(f"also called {', '.join(service.aliases)}") if service.aliases else []
    if service.provider is None:
        return [head, *also, *_text(f"not served: {service.reason}")]
    found = service.provider
    return [
        head,
        *also,
        *_text(f"served by {service.driver}; see {found.url}"),
        *_text(f"the credential needs {found.rights}"),
        *(_text(found.note) if found.note else []),
        "",
        *_variables(found, service.set_names(env, account)),
        "",
        *_text(f"required: {_required(found)}"),
    ]


def _variables(found: Described, known: Sequence[str]) -> list[str]:
    rows = [
        (
            variable.name,
            "-" if variable.default is None else variable.default,
            ", ".join(_set(variable, known)) or "-",
            variable.help,
        )
        for variable in found.settings
    ]
    return _table([("VARIABLE", "DEFAULT", "SET", "MEANING"), *rows])


def _required(found: Described) -> str:
    sets = [" and ".join(variable.name for variable in wanted) for wanted in found.required]
    return " or ".join(filter(None, sets)) or "nothing"


def _set(variable: Variable, known: Sequence[str]) -> list[str]:
    """Those of the set names that are spellings of this variable."""
    return [name for name in known if name.partition("__")[0] in variable.names]


def _record(service: Service, env: Mapping[str, str], account: str) -> dict[str, object]:
    known = service.set_names(env, account)
    found = service.provider
    return {
        "code": service.code,
        "name": service.title,
        "served_by": None if found is None else str(service.driver),
        "reason": service.reason or None,
        "aliases": list(service.aliases),
        "required": [] if found is None else [[v.name for v in wanted] for wanted in found.required],
        "variables": [] if found is None else [_as_record(variable, known) for variable in found.settings],
        "set": list(known),
    }


def _as_record(variable: Variable, known: Sequence[str]) -> dict[str, object]:
    return {
        "name": variable.name,
        "also_read": list(variable.names[1:]),
        "default": variable.default,
        "secret": variable.secret,
        "set": _set(variable, known),
    }
