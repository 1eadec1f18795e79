"""What all fake DNS APIs share: a loopback HTTP server, faults on request, records in memory.

A fake is never looser than the real API: whatever its documentation does not allow is a complaint, which fails the
test at its end whatever the solver made of the answer.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came in; header names in lower case, path percent-decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; a Complaint when it is not, or is not declared as such."""
        if self.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Complaint(f"{self.method} {self.path}: Content-Type is not application/json")
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as form fields; a Complaint when it is not declared as such."""
        if self.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
            raise Complaint(f"{self.method} {self.path}: Content-Type is not that of a form")
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer. `delay` seconds pass before it is sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


def json_response(value: object, status: int = 200, **headers: str) -> Response:
    """A JSON answer; header names with underscores for dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(
        status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json", **named}
    )


class Complaint(Exception):
    """The request is not what the documentation allows."""


@dataclass(kw_only=True)
class _Fault:
    response: Response
    match: Callable[[Request], bool]
    left: int


class FakeApi(ABC):
    """Base of all fakes. A subclass keeps zones and records its own way and answers `handle`.

    Test side, which every fake must serve: `add_zone`, `seed` (a TXT value some other software has set), `values`
    (all TXT values at a name, from whichever zone holds it). `url` is the base URL to give to the solver.
    """

    page_size = 2
    """Lists are cut into pages this small, where the API has pages."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.url = ""
        self.lock = threading.Lock()
        self._faults: list[_Fault] = []

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """Answer one request (calls come one at a time); raise Complaint for what the documentation forbids."""

    @abstractmethod
    def add_zone(self, zone: str) -> None: ...

    @abstractmethod
    def seed(self, zone: str, fqdn: str, value: str) -> None: ...

    @abstractmethod
    def values(self, fqdn: str) -> list[str]: ...

    def seed_written(self, zone: str, fqdn: str, written: Any) -> None:
        """A TXT value of other software, as the API itself writes it; for APIs that replace whole sets."""
        raise NotImplementedError

    def written(self, fqdn: str) -> list[Any]:
        """All TXT values at a name as the API writes them."""
        raise NotImplementedError

    def is_write(self, request: Request) -> bool:
        """Whether this request would change records; APIs that write by GET say it their own way."""
        return request.method not in {"GET", "HEAD"}

    def fail(self, response: Response, *, times: int = 1, match: Callable[[Request], bool] = lambda _: True) -> None:
        """Answer the next `times` matching requests with this instead, and without any effect."""
        self._faults.append(_Fault(response=response, match=match, left=times))

    def answer(self, request: Request) -> Response:
        """What the server sends back for a request."""
        with self.lock:
            self.requests.append(request)
            fault = next((fault for fault in self._faults if fault.left and fault.match(request)), None)
            if fault is not None:
                fault.left -= 1
                return fault.response
            try:
                return self.handle(request)
            except (Complaint, KeyError, ValueError, TypeError) as e:
                self.complaints.append(f"{request.method} {request.path}: {type(e).__name__} {e}")
                return json_response({"detail": str(e)}, 400)

    @contextmanager
    def serving(self, tls: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve on a free loopback port; gives the base URL, which is also kept in `url`."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has given up waiting is what some tests want; anything else shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # whatever it was given


def _handler(fake: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

        def _serve(self) -> None:
            split = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=unquote(split.path),
                query=dict(parse_qsl(split.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            )
            response = fake.answer(request)
            time.sleep(response.delay)
            self._send(response)

        def _send(self, response: Response) -> None:
            try:
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)
            except OSError:
                self.close_connection = True  # the client has given up waiting: that is what some tests want

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler
