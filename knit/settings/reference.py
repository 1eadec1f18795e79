"""Prints docs/configuration.md from the table: `python -m knit.settings.reference > docs/configuration.md`."""

from __future__ import annotations

import sys

from knit.settings.document import TableKey
from knit.settings.issuer_keys import ACME, CA, SELFSIGNED, SSLCOM, TOP, WELL_KNOWN
from knit.settings.variables import TABLE, Setting

HEAD = """\
# Configuration

<!-- Printed by `python -m knit.settings.reference`; a test holds this page against the code. -->

All settings are environment variables; one of them can name [a file of issuers](#the-file-of-issuers). An empty one
counts as unset. `NAME_FILE` names a file that holds the value of `NAME` (trailing newlines are cut; `NAME` itself
wins), which is how secrets are best passed. A bad value, a missing required one and a `KNIT_` name that is not on this
page stop the process at its start: exit code 2, and one line that names the variable, the value (unless it is a secret)
and what is allowed. `knit config check` says what each process would do with what is set.

Durations are written as in Go, `90s`, `5m`, `1h30m`, also with days, `30d`, or as bare seconds.

| variable | meaning | default | read by |
|---|---|---|---|
"""

TAIL = """
## Read from elsewhere

| variable | meaning |
|---|---|
| `LEGO_CA_CERTIFICATES` | Colon-separated PEM files, as `KNIT_ACME_CA_FILE`, which wins. |
| `LEGO_DISABLE_CNAME_SUPPORT` | `true`: CNAMEs at `_acme-challenge` names are not followed; a wildcard's never are. |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | Where the system's roots are: for the CA, DNS providers and lego. |
| `HTTPS_PROXY`, `NO_PROXY` | An HTTP proxy to the CA and to DNS providers, and hosts that are reached without it. |
| `NO_COLOR` | Any value: no colour at a terminal. |

DNS providers read their credentials and knobs under lego's own names (`DESEC_TOKEN`, `CLOUDFLARE_DNS_API_TOKEN`,
`<CODE>_PROPAGATION_TIMEOUT`, `<CODE>_POLLING_INTERVAL`, `<CODE>_TTL`, in whole seconds), each also as `NAME_FILE`.
A second account of a provider, `--provider desec@west`, reads `DESEC_TOKEN__WEST` first.
"""


SSLCOM_HAS_TWO = f"""
For RSA keys that of `sslcom` is `{SSLCOM[True]}`.
"""

ISSUERS = """
## The file of issuers

With `KNIT_ISSUERS_FILE`, a TOML file describes who issues. A key or table that is not on this page is refused, with the
file, the line and the nearest name; secrets are in files of their own, named by keys that end in `_file`.
`knit config check` reads it as every process would. No issuer may be called `imported`, which stands for
[certificates that knit does not order](howto/bought-certificate.md).
[Several issuers](howto/several-issuers.md) shows how to go there.

| key | meaning | default |
|---|---|---|
"""

ISSUER = """
A table `[issuer.NAME]` for each; a name is 1 to 40 of a-z, 0-9 and hyphens. What it may hold depends on its `kind`. Of
`acme`:

| key | meaning | default |
|---|---|---|
"""

OWN_CA = """
Of `ca`, [a CA of your own](howto/your-own-ca.md):

| key | meaning | default |
|---|---|---|
"""

SELF_SIGNED = """
Of `selfsigned`, [for trials](howto/your-own-ca.md#self-signed-for-trials); such an issuer always counts as staging:

| key | meaning | default |
|---|---|---|
"""

DIRECTORIES = """
Issuers of these names need no directory:

| name | directory |
|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, TABLE)) + TAIL + _issuers()


def _issuers() -> str:
    """The keys of the file, as it is read by them."""
    top = "".join(key_row(key) for key in TOP if key.name != "issuer")
    known = "".join(f"| `{name}` | `{directory}` |\n" for name, directory in WELL_KNOWN.items())
    acme = ISSUER + "".join(map(key_row, ACME)) + DIRECTORIES + known + SSLCOM_HAS_TWO
    own = OWN_CA + "".join(map(key_row, CA)) + SELF_SIGNED + "".join(map(key_row, SELFSIGNED))
    return ISSUERS + top + acme + own


def key_row(key: TableKey) -> str:
    """A key of a file as a row of three columns."""
    cells = (f"`{key.name}`", key.help, "needed" if key.needed else key.otherwise)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _row(setting: Setting) -> str:
    default = setting.unset if setting.default is None else f"`{setting.default}`"
    secret = " Secret: never printed." if setting.secret else ""
    readers = ", ".join("all" if reader == "all" else f"`{reader}`" for reader in setting.readers)
    cells = (f"`{setting.name}`", setting.help + secret, default, readers)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
