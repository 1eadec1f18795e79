"""The web server of the demo: serves TLS, picks certificates by name, reads them again on SIGHUP.

`python -m rig.demo.tls_server PORT PIDFILE FOLDER`: the folder holds NAME.crt and NAME.key.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path


class Certificates:
    """One TLS context per name, made from the files anew at each `load`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts: dict[str, ssl.SSLContext] = {}

    def load(self) -> None:
        """Read all pairs; connections being served keep what they have."""
        found = {}
        for chain in self._folder.glob("*.crt"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, chain.with_suffix(".key"))
            found[chain.stem] = context
        self._contexts = found

    def choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        """The context for the name asked for (RFC 6066 section 3)."""
        for stem, context in self._contexts.items():
            if name is not None and (name == stem or name.endswith(f".{stem}")):
                connection.context = context
                return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Answer every connection with a handshake and a line."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=greet, args=(connection, context), daemon=True).start()


def greet(connection: socket.socket, context: ssl.SSLContext) -> None:
    """One connection; a client that goes away is no concern."""
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
        secure.sendall(b"served by the demo\n")


def main() -> None:
    """Run until killed."""
    port, pid_file, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    certificates = Certificates(folder)
    certificates.load()
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.sni_callback = certificates.choose
    listener = socket.create_server(("127.0.0.1", port))
    signal.signal(signal.SIGHUP, lambda *_: certificates.load())
    threading.Thread(target=serve, args=(listener, front), daemon=True).start()
    pid_file.write_text(str(os.getpid()))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
