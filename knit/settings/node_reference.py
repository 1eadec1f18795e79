"""Prints docs/operations/node-file.md from the code: `python -m knit.settings.node_reference > docs/…`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from knit.core.model.places import FileSpec, Place
from knit.core.presets import PRESETS
from knit.settings.document import TableKey
from knit.settings.node_keys import FILE, PLACE, PROBE, TAKE, TOP
from knit.settings.reference import key_row

HEAD = """\
# The node file

<!-- Printed by `python -m knit.settings.node_reference`; a test holds this page against the code. -->

Without it a node takes every certificate that its Valkey shows, writes it to the paths in the published value, and runs
`KNIT_RELOAD_CMD`. A node file (`KNIT_NODE_FILE`, TOML) says which certificates are for this node, where their files go
and whose they are, and how each server is made to serve them:

```toml
name = "web1"

[[take]]
keys = ["certs:shop.*"]
place = "nginx"

[[take]]
names = ["mail.example.org"]
place = "mail"

[place.nginx]
preset = "nginx"
files = [
  { content = "fullchain", path = "/etc/ssl/knit/{name}.crt" },
  { content = "privkey", path = "/etc/ssl/knit/{name}.key", mode = "0640", group = "www-data" },
]
window = "Sun 02:00-05:00 Europe/Zurich"

[place.mail]
files = [
  { content = "combined", path = "/etc/mail/tls/mail.pem", mode = "0600" },
]
reload = "systemctl reload postfix dovecot"
probe = { connect = "127.0.0.1:25", starttls = "smtp" }
```

A key or table that is not on this page is refused, with the file, the line and the nearest name, and so is what could
not be done: a certificate that two files would want, a take that those before it leave nothing, an owner that this
machine does not know. `knit config check` reads the file as the watcher would, and says what is written where, what is
run, and when. It ends with 2 where the watcher would not start.

## Who may write it

The file holds commands, which the watcher runs, mostly as root. So it must belong to root or to the user that the
watcher runs as, its group and others must not be able to write it, and others must not be able to write in any folder
above it (but for folders like `/tmp`, where nobody removes what is another's). A symbolic link is judged by where it
leads. Else the watcher does not start: exit code 2. It has at most 256 KiB. Given as text, in `KNIT_NODE`, it is as
safe as the rest of the environment.

Nothing that comes out of Valkey is ever run, or decides where a file goes beyond `{name}`. That is the primary name of
the certificate in lower case, with `*` as `_wildcard`: its common name where that is one of its names, else the first
of them. A value whose name could not be a host's is refused.

## Top

| key | meaning | default |
|---|---|---|
"""

TAKES = """
## Takes

Tables `[[take]]`, in order: the first that fits a certificate decides where it goes. What none fits is for other nodes.
Without any, all certificates go to the only place.

| key | meaning | default |
|---|---|---|
"""

PLACES = """
## Places

A table `[place.NAME]` for each; a name is 1 to 40 of a-z, 0-9 and hyphens. With places, `KNIT_RELOAD_CMD` is refused:
each says for itself what is run. Every command runs as `sh -c` and is ended after `KNIT_RELOAD_TIMEOUT`.

| key | meaning | default |
|---|---|---|
"""

FILES = """
### Files

Of `files`:

| key | meaning | default |
|---|---|---|
"""

FILES_TAIL = """
`{name}` has to be in each path unless one key, or one name without `*`, is all that goes to the place. It stands in the
file's name; with `layout = "flip"` also in the name of the folder, which is a symbolic link to one version of it, so
that whoever opens the folder once finds files that belong together. Some files are never written, whatever is said
here: those by which a system trusts, starts or admits somebody, such as `/etc/ssl/certs/` or anything in `.ssh`.

`KNIT_WATCH_ROOTS` need not name the folders of these paths. Where a place has no `files`, the paths come out of Valkey,
and the roots are what they are judged by.

### Formats

| `content` | what is in the file |
|---|---|
| `fullchain` | the certificate and its chain, as published |
| `cert` | the certificate alone |
| `chain` | the chain without the certificate; a certificate that comes without one is refused |
| `privkey` | the key, as published |
| `combined` | the key, then the certificate and its chain |
| `pkcs12` | all of it in PKCS #12 (RFC 7292) |
| `jks` | all of it in Java's old key store, for what reads nothing else |

PKCS #12 is encrypted with AES-256, its key made of the password by 10,000 rounds of PBKDF2 with SHA-256: OpenSSL 1.1
and Java 8u301 read it, and what is newer. The encryption of `jks` is weak; the file's mode is what protects it. A key
store has one entry, `knit`. Its password is the one line of `password_file`, which is read at each use, and which
others may not read nor its group write. Where it is missing, empty or open to others, the files stay as they are, the
log says which file it is, and it is tried again at every poll. A password that has changed is noticed at the next look
at everything: every ten minutes, at a start, and on `SIGHUP`. The key store is written anew then, and the server
reloaded. Nothing is written, and nothing reloaded, while pair, password, paths, owners and modes are the same.

What a place says of mode, owner and group is so; what it does not say stays as it is on the file that is there. An
owner or group that knit may not give, because it does not run as root, is a reason to write nothing.

A place that finds a file which knit did not put there replaces it only if it is a certificate or a key in PEM, or a key
store that opens with the place's own password.

### Missing folders

With `create_dirs` they are made with mode 0755; one in which all files are for their owner alone, and that is knit's
user, with 0700. No symbolic link is followed to where something is made. Without it a missing folder is a reason to
write nothing, and it is tried again at every poll.

### Layouts

With `pair` each file is replaced in one step, and so for some microseconds a reader can find a new key beside an old
certificate. With `flip` it cannot: the folder (`/etc/ssl/knit/www.example.org`) is a link to `.knit-….files` beside it,
which has all files of one certificate and never changes; a new one is filled, and the link replaced in one step. A
server that opens the folder once and then its files, or reads them within one start, has files that belong together.
The folder before is kept until the next deployment. How often a reader finds a mixed pair in each layout is
[measured](../performance.md).

A link that is not knit's, or a folder with other files in it, is refused and stays. Where `flip` is new for a folder
with the files of this certificate, that becomes the first of the old ones; for a moment, this once, there is no folder.
Back at `pair` the folder stays a link, and goes on being replaced as a whole, until you put a folder in its place.

### Probe

Of `probe`:

| key | meaning | default |
|---|---|---|
"""

WINDOWS = """
## Windows

With a window, files are written and checked at once, and the reload waits until the window opens. Days are `Mon` to
`Sun`, with `-` and `,`, or `daily`; times are those of clocks in the zone, or of UTC without one. An end that is not
after the start is that of the next day. A zone needs the system's `tzdata`; where it is not known the file is refused.
When clocks are put on, a time that is missing counts as so much later; when they are put back, a window covers both
times that its own could be.

The reload does not wait where life is short: where less would be left, at the window's opening, of the certificate that
is served than a third of what is left now, or than 72 hours if that is less. Then it happens at once, and the log says
why. What has once begun to wait is never overtaken by this rule: it waits for that opening. For certificates of a place
together, the one that expires first decides.

| certificates of | renewed with | weekly window | nightly window |
|---|---|---|---|
| 90 days | 30 days left | waits | waits |
| 47 days | 15 days left | waits | waits |
| 6 days (160 hours) | 80 hours left | waits up to 53 hours, else at once | waits |

A renewal that is late changes this: with 9 days left, a window that opens in 6 days and an hour is too late.

## Presets

A preset stands for the keys that are not set. Of `probe` each key counts by itself. With `files = []` the files go to
the value's own paths. Each preset's page says what the server's configuration has to name.

| preset | files | check | reload | probe |
|---|---|---|---|---|
"""

TAIL = """
## While the watcher runs

The file is read at the start, and once more on `SIGHUP`, as is every other file that a variable names (a Valkey URL
with a new password). Where something has changed and all of it is right, the watcher starts anew with it, as the same
process (`settings have changed, starting anew`). Where something is wrong, `settings refused, keeping those in use`
says what, and the watcher goes on as before. A pass that is under way is waited for.
"""


def page() -> str:
    """The whole page."""
    return "".join(
        (
            HEAD,
            _keys(key for key in TOP if key.name == "name"),
            TAKES,
            _keys(TAKE),
            PLACES,
            _keys(PLACE),
            FILES,
            _keys(FILE),
            FILES_TAIL,
            _keys(PROBE),
            WINDOWS,
            "".join(map(_preset, PRESETS.values())),
            TAIL,
        )
    )


def _keys(keys: Iterable[TableKey]) -> str:
    return "".join(map(key_row, keys))


def _preset(place: Place) -> str:
    cells = (f"[`{place.name}`](../howto/nodes/{place.name}.md)", *_cells(place))
    return f"| {' | '.join(cells)} |\n"


def _cells(place: Place) -> tuple[str, ...]:
    files = ", ".join(map(_at, place.files)) or "the value's own paths"
    probe = "-" if place.probe is None else " ".join(filter(None, (f"`{place.probe.connect}`", place.probe.starttls)))
    commands = (f"`{one}`" if one else "-" for one in (place.check, place.reload))
    return tuple(one.replace("|", "&#124;") for one in (files, *commands, probe))


def _at(one: FileSpec) -> str:
    mode = "" if one.mode is None else f", mode {one.mode:04o}"
    return f"{one.content} at `{one.path}`{mode}{f', group {one.group}' if one.group else ''}"


def preset_table(place: Place) -> str:
    """What a preset stands for, as its own page has it."""
    rows = (("layout", f"`{place.layout}`"), *zip(("files", "check", "reload", "probe"), _cells(place), strict=True))
    return "| key | with this preset |\n|---|---|\n" + "".join(f"| `{key}` | {text} |\n" for key, text in rows)


if __name__ == "__main__":
    sys.stdout.write(page())
