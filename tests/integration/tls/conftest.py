from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from knit.core.model.certificate import Bundle
from knit.tls import Certificates
from tests.integration.node import pki
from tests.integration.node.conftest import Publisher


def serial_of(bundle: Bundle) -> int:
    return x509.load_pem_x509_certificate(bundle.fullchain).serial_number


def asked(port: int, name: str | None, **options: object) -> int:
    """The serial number of the certificate that answers a new client's handshake, which must succeed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for option, value in options.items():
        setattr(context, option, value)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        secure.sendall(b"hello\n")
        assert secure.recv(100) == b"hello\n"
        found = secure.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


@contextmanager
def serving(certificates: Certificates) -> Iterator[int]:
    """An asyncio server in a thread of its own; its port."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    server = loop.run_until_complete(asyncio.start_server(_echo, "127.0.0.1", 0, ssl=certificates.context, backlog=500))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class InFolder:
    """Puts pairs into a folder, as a node does: the key's file first."""

    def __init__(self, folder: Path) -> None:
        self.source = str(folder)
        self._folder = folder

    def put(self, name: str, bundle: Bundle) -> None:
        for ending, content in (("key", bundle.privkey), ("crt", bundle.fullchain)):
            new = self._folder / f".knit-{name}.{ending}"
            new.write_bytes(content)
            new.replace(self._folder / f"{name}.{ending}")

    def spoil(self, name: str) -> None:
        (self._folder / f"{name}.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf of")


class InValkey:
    """Publishes pairs, as the centre does."""

    def __init__(self, publisher: Publisher) -> None:
        self.source = publisher.url
        self._publisher = publisher
        self._generation = 0

    def put(self, name: str, bundle: Bundle) -> None:
        self._generation += 1
        self._publisher.pair(f"cert:{name}", bundle, generation=self._generation, name=name)

    def spoil(self, name: str) -> None:
        self._generation += 1
        raw = pki.value(pki.pair(), "/tls", generation=self._generation)
        self._publisher.publish(f"cert:{name}", raw.replace(b"BEGIN CERT", b"BEGIN SPOILED"), self._generation)


Place = InFolder | InValkey
Made = Callable[..., Certificates]


@pytest.fixture(params=["folder", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield InFolder(tmp_path)
        return
    publisher = Publisher(request.getfixturevalue("valkey_url"), Path("/tls"))
    yield InValkey(publisher)
    publisher.link.close()
