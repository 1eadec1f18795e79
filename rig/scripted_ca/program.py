"""Run the CA: `python -m rig.scripted_ca --port 0`. Prints one JSON line when it is ready, ends on SIGTERM."""

import argparse
import asyncio
import ctypes
import json
import logging
import os
import random
import signal
import ssl
import sys
import tempfile
from asyncio import sslproto
from functools import partial
from pathlib import Path

import trustme

from rig.scripted_ca.authority import Authority
from rig.scripted_ca.front import Front
from rig.scripted_ca.http11 import serve
from rig.scripted_ca.management import Management
from rig.scripted_ca.script import Script, patched

_HOST = "127.0.0.1"
_BACKLOG = 1024
_TLS_BUFFER = 32 * 1024
_PR_SET_PDEATHSIG = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripted_ca", description="A scripted ACME server for tests.")
    parser.add_argument("--port", type=int, default=0, help="port of the ACME server; 0 = any free one")
    parser.add_argument("--management-port", type=int, default=0)
    parser.add_argument("--ca-file", type=Path, help="where to write the root of the server's TLS certificate")
    parser.add_argument("--script", default="{}", help="knobs to begin with, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="seed of the dice for nonces and authorizations")
    parser.add_argument("--with-parent", action="store_true", help="end when the process does that this one is from")
    return parser.parse_args()


def _die_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # The parent has gone before the kernel was asked to watch it.
        sys.exit(0)


def _tls(ca_file: Path) -> ssl.SSLContext:
    root = trustme.CA(organization_name="scripted ACME server")
    root.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    root.issue_cert(_HOST, "localhost", "ca.test").configure_cert(context)
    return context


async def _run(arguments: argparse.Namespace, ca_file: Path) -> None:
    # asyncio keeps 256 KiB for each TLS connection otherwise; no ACME request is near that.
    sslproto.SSLProtocol.max_size = _TLS_BUFFER
    ca = Authority(base="", dice=random.Random(arguments.seed), script=patched(Script(), json.loads(arguments.script)))
    acme = await asyncio.start_server(
        partial(serve, Front(ca)), _HOST, arguments.port, ssl=_tls(ca_file), backlog=_BACKLOG
    )
    management = await asyncio.start_server(partial(serve, Management(ca)), _HOST, arguments.management_port)
    ca.base = f"https://{_HOST}:{acme.sockets[0].getsockname()[1]}"
    ready = {
        "directory": ca.url("directory"),
        "management": f"http://{_HOST}:{management.sockets[0].getsockname()[1]}",
        "ca_file": str(ca_file),
        "pid": os.getpid(),
    }
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stop.wait()


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.WARNING)
    if arguments.with_parent:
        _die_with_parent()
    with tempfile.TemporaryDirectory(prefix="scripted-ca-") as folder:
        asyncio.run(_run(arguments, arguments.ca_file or Path(folder) / "ca.pem"))
