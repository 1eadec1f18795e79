"""Each field of a record is a column of its table under the same name, and no statement lists them by hand.

In a statement, for the record `issued` (also `spec`, and `wanted`: the options of `knit add`, of
knit_certs, and `attempt` of knit_attempts) and a table `i`:

    {issued}                        cert_id, names_key, ...
    {issued given}                  %(cert_id)s, %(names_key)s, ...
    {issued of i}                   i.cert_id, i.names_key, ...
    {issued of i as i_}             i.cert_id i_cert_id, i.names_key i_names_key, ...
    {issued set from i}             names_key = i.names_key, ...: all but the first, which is the key
    {issued set from i but serial}  the same without that one
    {wanted set given}              provider = %(provider)s, ...

knit_issued has columns that `Issued` lacks, for they say how it came to be published and not what was issued:
published_at, attempt_id, spki_sha256, key_since and expiry_told. Statements name them beside the list.

What more than one statement reads of the same tables is a part of them all, from `journal/state.sql`: {state columns},
{state tables}.
"""

from __future__ import annotations

import re
from dataclasses import fields

from knit.core.model.attempt import Attempt
from knit.core.model.certificate import CertSpec, Issued
from knit.core.wanted import OPTIONS
from knit.store.queries import queries

ISSUED = tuple(field.name for field in fields(Issued))
SPEC = tuple(field.name for field in fields(CertSpec))
ATTEMPT = tuple(field.name for field in fields(Attempt))

COLUMNS = {"issued": ISSUED, "spec": SPEC, "wanted": OPTIONS, "attempt": ATTEMPT}
LIST = re.compile(r"\{(issued|spec|wanted|attempt)([a-z_ ]*)\}")


def expanded(statements: str) -> str:
    """With each list of columns written out."""
    for name, part in queries("journal/state").items() if "{state" in statements else ():
        statements = statements.replace(f"{{state {name}}}", part.strip())
    return LIST.sub(_written, statements)


def _written(found: re.Match[str]) -> str:
    columns = COLUMNS[found[1]]
    match found[2].split():
        case []:
            return ", ".join(columns)
        case ["given"]:
            return ", ".join(f"%({name})s" for name in columns)
        case ["of", table]:
            return ", ".join(f"{table}.{name}" for name in columns)
        case ["of", table, "as", prefix]:
            return ",".join(f"{table}.{name} {prefix}{name}" for name in columns)
        case ["set", "given"]:
            return ", ".join(f"{name} = %({name})s" for name in columns)
        case ["set", "from", table, *but]:
            return ", ".join(f"{name} = {table}.{name}" for name in columns[1:] if name not in but)
    raise AssertionError(found[0])
