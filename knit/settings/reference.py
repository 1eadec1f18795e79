"""Prints docs/configuration.md from the table: `python -m knit.settings.reference > docs/configuration.md`."""

from __future__ import annotations

import sys

from knit.settings.variables import TABLE, Setting

HEAD = """\
# Configuration

<!-- Printed by `python -m knit.settings.reference`; a test holds this page against the code. -->

All settings are environment variables. An empty one counts as unset. `NAME_FILE` names a file that holds the value of
`NAME` (trailing newlines are cut; `NAME` itself wins), which is how secrets are best passed. A bad value, a missing
required one and a `KNIT_` name that is not on this page stop the process at its start: exit code 2, and one line that
names the variable, the value (unless it is a secret) and what is allowed.

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


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, TABLE)) + TAIL


def _row(setting: Setting) -> str:
    default = setting.unset if setting.default is None else f"`{setting.default}`"
    secret = " Secret: never printed." if setting.secret else ""
    readers = ", ".join("all" if reader == "all" else f"`{reader}`" for reader in setting.readers)
    cells = (f"`{setting.name}`", setting.help + secret, default, readers)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
