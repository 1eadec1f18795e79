"""Runs every command of knit with odd settings, each in a process of its own, and prints what none may do.

`python -m tests.acceptance.fuzzing SEED CASES FOLDER`, with good servers in DB, VALKEY and QUEUE. All is imported once;
each case is a fork, so that a thousand of them take a minute.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import knit.node.__main__ as node
import scheduler.main
import workers.main
from knit.cli.app import COMMANDS, app
from knit.cli.edge import run
from knit.settings.variables import TABLE

PLACES = "--provider desec --valkey-key k --cert-path /c/a.crt --key-path /c/a.key"
NODE, SCHEDULER, WORKER = "node --once", "scheduler", "worker"
WORDS = (
    *("list", "list --json --wide", "list a.example --failing", "show 1", "show a.example", "renew --once", "prune"),
    *(f"add --domains a.example {PLACES}", "set --id 1 --key-type rsa2048", "remove --id 2", "enable --id 1"),
    *("renew --id 1", "renew --domains a.example --force", "adopt-valkey", "issuers", "issuers accept acme"),
    *("providers", "providers desec", "dns check a.example", "dns check a.example --provider rfc2136", "version"),
    *(NODE, NODE, NODE, SCHEDULER, WORKER),
)
GOOD = {
    "KNIT_DB_URL": (
        "postgres://u:s3cr3t-canary@127.0.0.1:1/d",
        "host=127.0.0.1 port=1 dbname=x",
        os.environ.get("DB", ""),
    ),
    "KNIT_VALKEY_URL": ("redis://:s3cr3t-canary@127.0.0.1:1/0", "unix:///nowhere", os.environ.get("VALKEY", "")),
    "KNIT_QUEUE_URL": ("redis://127.0.0.1:1/2", "amqp://u:s3cr3t-canary@127.0.0.1:1/v", os.environ.get("QUEUE", "")),
    "KNIT_ACME_DIRECTORY": ("https://127.0.0.1:1/dir", "https://localhost:1/dir"),
    "KNIT_DNS_RESOLVERS": ("127.0.0.1:1", "127.0.0.1"),
    "KNIT_LOG_LEVEL": ("info", "debug", "error"),
}
MUST = ("KNIT_DB_URL", "KNIT_VALKEY_URL")
HELD = (b"", b"\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\xfe", b"x" * 2_000_000)
FILES = ("/dev/null", "/dev/full", "/dev/zero", "/proc/self/mem", "/nowhere", "relative", "/" + "a" * 300, "/")
FRAGMENTS = (
    *("redis://", "rediss://", "unix://", "postgres://", "https://", "amqp://", "127.0.0.1", "[::1]", "[", "=", "@"),
    *(
        ":",
        "/",
        "?",
        "&",
        "%",
        "%zz",
        "%00",
        "#",
        ",",
        "-",
        ".",
        "..",
        "0",
        "-1",
        "9" * 25,
        "65536",
        "\u0663",
        "\u00b2",
    ),
    *("\udcff", "\u0130", "\u00df", "xn--", "a" * 64 + ".b", "a..b", "1h", "true", "nan", "1e400", " ", "\t", "\n"),
    *(
        '"',
        "'",
        "\\",
        "~",
        "\x7f",
        "\x1b[2J",
        "x" * 300,
        "host",
        "hostaddr",
        "port",
        "dbname",
        "sslmode",
        "sslrootcert",
    ),
    *("sslcert", "options", "service", "passfile", "target_session_attrs", "connect_timeout", "client_encoding", "db"),
    *("protocol", "dial_timeout", "skip_verify", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_check_hostname"),
    *("health_check_interval", "heartbeat", "channel_max", "frame_max", "connection_attempts", "locale", "none"),
    *FILES,
)
AROUND = {
    "HOME": ("/nowhere", "\udcff", "relative"),
    "XDG_STATE_HOME": ("\udcff", "/dev/null"),
    "SSL_CERT_FILE": FILES,
    "LEGO_CA_CERTIFICATES": FILES,
    "COLUMNS": ("0", "-1", "x", "9" * 20),
    "TERM": ("\udcff", "dumb"),
    "TZ": ("\udcff", "Nowhere/X"),
    "TMPDIR": ("/nowhere",),
    "DESEC_TOKEN_FILE": FILES,
    "DESEC_TTL": ("x", "-1", "9" * 20),
    "RFC2136_NAMESERVER": ("x", ":", "a..b", "127.0.0.1:1"),
    "RFC2136_TSIG_SECRET": ("!", "YQ=="),
    "PGHOST": ("\udcff", "/nowhere", "a..b"),
    "PGPORT": ("x", "1"),
    "PGSSLMODE": ("\udcff", "x"),
    "PGSERVICE": ("x",),
    "PGOPTIONS": ("\udcff", "-c x=y"),
    "PGCLIENTENCODING": ("x", "SQL_ASCII"),
    "https_proxy": (":::", "http://u:p@127.0.0.1:1"),
    "no_proxy": ("\udcff", "*"),
}
BAD = re.compile(r"bug in knit|Traceback|Exception ignored|Exception in thread|s3cr3t-canary")
ENDLESS = {SCHEDULER, WORKER}
SECONDS = 20


def main(seed: int, cases: int, folder: Path) -> None:
    """Print each case that went wrong."""
    chance = random.Random(seed)
    files = [folder / str(number) for number in range(len(HELD))]
    for file, held in zip(files, HELD, strict=True):
        file.write_bytes(held)
    for name in COMMANDS:
        app.get_command(None, name)  # type: ignore[arg-type]
    for _ in range(cases):
        words, variables = chance.choice(WORDS), _variables(chance, [*map(str, files), *FILES])
        if words == NODE:
            variables["KNIT_STATE_DIR"] = variables.get("KNIT_STATE_DIR", f"{folder}/state")
        code, said = _run(words, variables)
        # One that serves until it is told to stop was stopped by the clock.
        if BAD.search(said) or (code not in {0, 1, 2} and not (code == -signal.SIGALRM and words in ENDLESS)):
            sys.stdout.write(f"{words}: {code}\n{variables!r}\n{said[-2000:]!r}\n\n")


def _variables(chance: random.Random, files: Sequence[str]) -> dict[str, str]:
    chosen = {name: _value(chance, name) for name in MUST if chance.random() < 0.95}
    others = [setting.name for setting in TABLE if setting.name not in MUST]
    chosen |= {name: _value(chance, name) for name in others if chance.random() < 0.08}
    chosen |= {name: chance.choice(values) for name, values in AROUND.items() if chance.random() < 0.05}
    if chance.random() < 0.15:
        name = chance.choice(TABLE).name
        chosen.pop(name, None)
        chosen[f"{name}_FILE"] = chance.choice(files)
    return {name: value.replace("\0", "") for name, value in chosen.items()}


def _value(chance: random.Random, name: str) -> str:
    """A good one, a good one with something in it that does not belong there, or nonsense."""
    kind = chance.random()
    if name not in GOOD or kind < 0.25:
        return "".join(chance.choice(FRAGMENTS) for _ in range(chance.randint(1, 5)))
    good = chance.choice(GOOD[name])
    if kind < 0.5 and "URL" in name:
        pairs = [f"{chance.choice(FRAGMENTS)}={chance.choice(FRAGMENTS)}" for _ in range(chance.randint(1, 3))]
        return (" " if "://" not in good else "?").join([good, "&".join(pairs)])
    cut = chance.randrange(len(good) + 1)
    return good if kind > 0.7 else good[:cut] + chance.choice(FRAGMENTS) + good[cut + chance.randint(0, 2) :]


def _run(words: str, variables: dict[str, str]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _become(words, variables, output.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _become(words: str, variables: dict[str, str], output: int) -> None:
    code: object = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(output, stream)
        for name in [name for name in os.environ if name.startswith(("KNIT_", "PG", "LEGO_", "DESEC_"))]:
            del os.environ[name]
        os.environ.update(variables)
        time.tzset()
        signal.alarm(3 if words in ENDLESS else SECONDS)
        code = _program(words)()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 -- what this program looks for
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _program(words: str) -> Callable[[], object]:
    if words == SCHEDULER:
        return scheduler.main.main
    if words == WORKER:
        return workers.main.setup
    if words == NODE:
        sys.argv = words.split()
        return node.main
    return lambda: run(app, words.split())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
