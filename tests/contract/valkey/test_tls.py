"""A node's server behind TLS: who is trusted, and what is said of one who is not."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from knit.errors import CredentialsRejected
from knit.valkey.layout import Layout
from knit.valkey.reader import ValkeyReader
from knit.valkey.site import Site
from rig.valkey import Valkey
from tests.integration.node import pki


class Front:
    """Takes TLS with this pair, and passes on what comes to a server without."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(plain,), daemon=True).start()

    def _pass_on(self, plain: socket.socket) -> None:
        with (
            suppress(OSError),
            plain,
            self._context.wrap_socket(plain, server_side=True) as secured,
            socket.create_connection(("127.0.0.1", self._behind)) as behind,
        ):
            answers = threading.Thread(target=_copy, args=(behind, secured), daemon=True)
            answers.start()
            _copy(secured, behind)
            behind.shutdown(socket.SHUT_RDWR)
            answers.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


Behind = Callable[[str], str]


@pytest.fixture
def behind(valkey: Valkey, tmp_path: Path) -> Iterator[Behind]:
    """The URL of a server whose certificate is for this name; `roots.pem` beside it has who signed it."""
    valkey.flush()
    fronts: list[Front] = []

    def url(name: str) -> str:
        bundle = pki.pair(name, self_issued=True)
        (tmp_path / "server.pem").write_bytes(bundle.fullchain + bundle.privkey)
        (tmp_path / "roots.pem").write_bytes(bundle.fullchain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        fronts.append(Front(context, valkey.port))
        return f"rediss://localhost:{fronts[-1].port}/0?ssl_ca_certs={tmp_path}/roots.pem"

    yield url
    for front in fronts:
        front.close()


def revision(url: str) -> int | None:
    with closing(ValkeyReader(Site.of(url, name="knit-test"), Layout())) as reader:
        return reader.revision()


def test_a_server_whose_signer_is_named_is_asked(behind: Behind, valkey: Valkey) -> None:
    with closing(valkey.client()) as client:
        client.set(Layout().revision, 7)
    assert revision(behind("localhost")) == 7


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("localhost", False, "self.signed certificate"),
        ("elsewhere.test", True, "Hostname mismatch"),
    ],
)
def test_a_server_that_is_not_trusted_is_told_from_one_that_does_not_answer(
    behind: Behind, name: str, said: str, *, trusted: bool
) -> None:
    url = behind(name)
    with pytest.raises(CredentialsRejected, match=f"has a certificate that is not trusted: {said}"):
        revision(url if trusted else url.partition("?")[0])


@pytest.mark.parametrize("option", ["ssl_check_hostname=false", "ssl_cert_reqs=none"])
def test_the_url_may_say_that_the_name_does_not_matter(behind: Behind, option: str) -> None:
    assert revision(f"{behind('elsewhere.test')}&{option}") is None
