"""lego in its child process: the real one, against servers of our own."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from knit.app.locks import KeyedLocks
from knit.core.model.challenge import Challenge, Record
from knit.dns.delegation import DnsDelegation, Looking
from knit.dns.prover import Dns01, Shared
from knit.errors import CredentialsRejected, Interrupted, KnitError, Misconfigured, RateLimited, Unreachable
from knit.ports.process import Sleep
from knit.providers.base import Runtime, Values
from knit.providers.lego import provider as lego_provider
from knit.providers.lego.child import Child
from knit.providers.lego.solver import Lego
from knit.providers.lego.table import table
from rig.challtestsrv import ChallTestSrv
from rig.lego import lego
from rig.pebble import Pebble, PebbleOptions
from rig.process import MissingError, wait_until
from tests.fix_rig import running
from tests.integration.acme.parties import Notes, Wanted, Worker

ROOT = Path(__file__).parents[2]
KEY_AUTHORIZATION = "token.thumb"
VALUE = "lCdftpJCXapaZHkBGIZbcubeKW8RmA0jSG_aZN01zbU"


@pytest.fixture(scope="module")
def interpreter() -> str:
    try:
        return lego().interpreter
    except MissingError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


Make = Callable[..., Lego]


@pytest.fixture
def make(interpreter: str) -> Make:
    """Builds the solver of a code as the registry does, but with the interpreter that has lego."""

    def make(
        code: str,
        given: dict[str, str],
        *,
        sleep: Sleep = time.sleep,
        resolver: str = "127.0.0.1:9",
        seconds: float = 20,
    ) -> Lego:
        runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=sleep, resolvers=(resolver,))
        entry, values = table()[code], Values({"PATH": os.environ["PATH"], **given})
        account = replace(lego_provider.setup(entry, values), interpreter=interpreter, deadline=seconds)
        return lego_provider.solver(entry, account, values, runtime)

    return make


def record(fqdn: str = "_acme-challenge.example.org", identifier: str = "example.org") -> Record:
    challenge = Challenge(identifier=identifier, value=VALUE, token="token", key_authorization=KEY_AUTHORIZATION)
    return Record(challenge=challenge, fqdn=fqdn, zone="example.org")


class Endpoint:
    """Where lego's httpreq posts to. `status`, `body` and `delay` say how it answers; `asked` is what it was sent."""

    def __init__(self) -> None:
        self.status, self.body, self.delay = 200, "", 0.0
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append((self.path, sent, self.headers["Authorization"]))
                time.sleep(endpoint.delay)
                try:
                    self.send_response(endpoint.status)
                    self.end_headers()
                    self.wfile.write(endpoint.body.encode())
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()
    thread.join()


def httpreq(endpoint: Endpoint, **more: str) -> dict[str, str]:
    return {"HTTPREQ_ENDPOINT": endpoint.url, **more}


def children() -> set[int]:
    """Living children of this process that run lego's program."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z" and b"lego/program.py" in command:
            found.add(int(path.parent.name))
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# What it does


def test_httpreq_gets_exactly_what_lego_sends(make: Make, endpoint: Endpoint) -> None:
    with make("httpreq", httpreq(endpoint, HTTPREQ_USERNAME="me", HTTPREQ_PASSWORD="secret")).session() as session:
        session.present(record())
        session.cleanup(record(), None)
    sent = {"fqdn": "_acme-challenge.example.org.", "value": VALUE}
    assert endpoint.asked == [("/present", sent, "Basic bWU6c2VjcmV0"), ("/cleanup", sent, "Basic bWU6c2VjcmV0")]


def test_one_child_serves_a_whole_set_and_is_gone_afterwards(make: Make, endpoint: Endpoint) -> None:
    with make("httpreq", httpreq(endpoint)).session() as session:
        seen = []
        for name in ("a", "b", "c"):
            session.present(record(f"_acme-challenge.{name}.example.org"))
            seen.append(children())
        assert seen[0] == seen[1] == seen[2]
        assert len(seen[0]) == 1
    assert children() == set()


def test_a_delegated_name_is_given_by_its_own_domain_and_lego_follows_nothing(make: Make, endpoint: Endpoint) -> None:
    delegated = record("_acme-challenge.elsewhere.example", "www.example.org")
    make("httpreq", httpreq(endpoint, HTTPREQ_MODE="RAW")).present(delegated)
    sent = {"domain": "elsewhere.example", "token": "token", "keyAuth": KEY_AUTHORIZATION}
    assert endpoint.asked == [("/present", sent, None)]


def test_a_target_without_the_usual_label_is_found_by_lego_itself(
    make: Make, endpoint: Endpoint, challtestsrv: ChallTestSrv
) -> None:
    challtestsrv.set_cname("_acme-challenge.www.example.org", "abc.acme.example")
    solver = make("httpreq", httpreq(endpoint), resolver=challtestsrv.address)
    plain = record("_acme-challenge.example.org")
    with solver.session() as session:
        session.present(record("abc.acme.example", "www.example.org"))
        session.present(plain)
        session.cleanup(plain, None)
    assert [sent["fqdn"] for _, sent, _ in endpoint.asked] == [
        "abc.acme.example.",
        *["_acme-challenge.example.org."] * 2,
    ]


def test_two_accounts_work_side_by_side(make: Make, endpoint: Endpoint) -> None:
    def present(user: str) -> None:
        with make("httpreq", httpreq(endpoint, HTTPREQ_USERNAME=user, HTTPREQ_PASSWORD="p")).session() as session:
            session.present(record(f"_acme-challenge.{user}.example.org"))

    users = [f"user{number}" for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(present, users))
    for _, sent, authorization in endpoint.asked:
        user = sent["fqdn"].split(".")[1]
        assert authorization == f"Basic {base64.b64encode(f'{user}:p'.encode()).decode()}"
    assert len(endpoint.asked) == len(users)


TXT_PROGRAM = """\
#!{python} -I
import json, os, sys, urllib.request
action, fqdn, value = sys.argv[1:]
with open({log!r}, "a") as log:
    print(action, fqdn, file=log)
with open({environment!r}, "w") as seen:
    print(*sorted(os.environ), sep="\\n", file=seen)
path = "set-txt" if action == "present" else "clear-txt"
body = json.dumps({{"host": fqdn, "value": value}}).encode()
urllib.request.urlopen(urllib.request.Request("{url}/" + path, body), timeout=5).close()
"""


def test_a_certificate_for_apex_and_wildcard_is_issued_through_lego(
    make: Make, challtestsrv: ChallTestSrv, tmp_path: Path
) -> None:
    script = tmp_path / "set-txt"
    environment, log = tmp_path / "environment", tmp_path / "log"
    script.write_text(
        TXT_PROGRAM.format(
            python=sys.executable, url=challtestsrv.management_url, environment=str(environment), log=str(log)
        )
    )
    script.chmod(0o755)
    given = {
        "EXEC_PATH": str(script),
        "EXEC_SEQUENCE_INTERVAL": "1",
        "KNIT_DB_URL": "postgres://canary",
        "DESEC_TOKEN": "canary",
    }
    looking = Looking(resolvers=(challtestsrv.address,), timeout=1, wait=0.01)
    notes = Notes()
    shared = Shared(delegation=DnsDelegation(looking, time.sleep), exclusive=KeyedLocks())
    options = PebbleOptions(dns_server=challtestsrv.address, retry_after_authz=0, retry_after_order=0)
    wanted = Wanted(names=("knit.example", "*.knit.example"))
    for ca in running(lambda: Pebble(options)):
        chain = Worker(ca).issue(wanted, notes, Dns01("exec", make("exec", given), notes, shared))
        assert wanted.check(chain).names == {"knit.example", "*.knit.example"}
    assert sorted(log.read_text().split("\n"))[1:] == [
        *["cleanup _acme-challenge.knit.example."] * 2,
        *["present _acme-challenge.knit.example."] * 2,
    ]
    own = {"EXEC_PATH", "EXEC_SEQUENCE_INTERVAL"}
    assert set(environment.read_text().split()) == {*own, "LEGO_DISABLE_CNAME_SUPPORT", "PATH", "LC_CTYPE"}
    assert children() == set()


# What it keeps to itself


def test_credentials_are_neither_in_the_arguments_nor_in_the_environment_of_the_child(
    make: Make, endpoint: Endpoint
) -> None:
    given = httpreq(endpoint, HTTPREQ_USERNAME="me", HTTPREQ_PASSWORD="canary")
    with make("httpreq", given).session() as session:
        session.present(record())
        (pid,) = children()
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert b"canary" not in seen
    assert b"HTTPREQ" not in seen


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsRejected), (403, CredentialsRejected), (429, RateLimited), (500, Unreachable)],
)
def test_an_error_has_its_class_and_shows_no_secret(
    make: Make, endpoint: Endpoint, status: int, error: type[KnitError]
) -> None:
    endpoint.status, endpoint.body = status, "the password can%2Fary or can/ary is\n\x1b[31mnot for you"
    solver = make("httpreq", httpreq(endpoint, HTTPREQ_USERNAME="me", HTTPREQ_PASSWORD="can/ary"))
    with pytest.raises(error) as caught:
        solver.present(record())
    assert "not for you" in str(caught.value)
    assert not re.search(r"can(/|%2F)ary|\n|\x1b", str(caught.value))


# How it ends


def test_a_call_that_hangs_ends_at_the_deadline_and_so_does_the_child(make: Make, endpoint: Endpoint) -> None:
    endpoint.delay = 15
    with make("httpreq", httpreq(endpoint), seconds=1).session() as session:
        started = time.monotonic()
        with pytest.raises(Unreachable, match="gave no answer in 1 s"):
            session.present(record())
        assert time.monotonic() - started < 4
        assert children() == set()
        endpoint.delay = 0
        session.cleanup(record(), None)
    assert endpoint.asked[-1][0] == "/cleanup"


def test_a_child_that_dies_is_told_of_and_the_next_one_cleans_up(make: Make, endpoint: Endpoint) -> None:
    with make("httpreq", httpreq(endpoint)).session() as session:
        session.present(record())
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unreachable, match="ended without an answer"):
            session.present(record())
        session.cleanup(record(), None)
    assert endpoint.asked[-1][0] == "/cleanup"


def test_a_stop_of_the_worker_ends_a_hanging_call_within_seconds(make: Make, endpoint: Endpoint) -> None:
    endpoint.delay = 15

    def stopping(_: float) -> None:
        raise Interrupted("stopping")

    started = time.monotonic()
    with pytest.raises(Interrupted):
        make("httpreq", httpreq(endpoint), sleep=stopping).present(record())
    assert time.monotonic() - started < 6
    assert children() == set()


PARENT = """\
import logging, os, sys, time
from datetime import UTC, datetime
from knit.core.model.challenge import Challenge, Record
from knit.providers.base import Runtime
from knit.providers.lego.child import Child
runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
child = Child({interpreter!r}, {{"PATH": os.environ["PATH"]}}, runtime)
print(child.pid, flush=True)
child.ask({{"action": "configure", "provider": "httpreq", "credentials": {{"HTTPREQ_ENDPOINT": {url!r}}}}}, seconds=30)
child.ask({{"action": "perform", "domain": "a.example", "token": "t", "key_authorization": "k"}}, seconds=30)
"""


def test_a_killed_worker_takes_the_child_with_it_even_in_the_middle_of_a_call(
    interpreter: str, endpoint: Endpoint
) -> None:
    endpoint.delay = 15
    code = PARENT.format(interpreter=interpreter, url=endpoint.url)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LEGO_DISABLE_CNAME_SUPPORT": "true"}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: bool(endpoint.asked), "lego asking", seconds=20)
        assert not gone(pid)
        parent.kill()
        parent.wait()
        wait_until(lambda: gone(pid), "the child gone", seconds=5)


def test_without_the_extra_it_says_what_to_install(endpoint: Endpoint) -> None:
    if find_spec("lego_bridge") is not None:
        pytest.skip("lego is installed in this environment")
    entry, values = table()["httpreq"], Values(httpreq(endpoint))
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
    with pytest.raises(Misconfigured, match=r"pip install 'knit-certs\[lego\]'"):
        lego_provider.described(entry).solver(values, runtime)
    by_itself = lego_provider.solver(entry, lego_provider.setup(entry, values), values, runtime)
    with pytest.raises(Misconfigured, match=r"pip install 'knit-certs\[lego\]'"):
        by_itself.present(record())
    assert children() == set()


# The table against the lego that is shipped


def test_lego_knows_every_code_of_the_table_and_asks_for_the_variables_in_it(interpreter: str) -> None:
    runtime = Runtime(clock=lambda: datetime.now(UTC), sleep=time.sleep)
    home = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AZURE_AUTH_METHOD": "env"}
    child = Child(interpreter, home, runtime)
    wrong: dict[str, str] = {}
    try:
        for code, entry in table().items():
            if code == "azuredns":
                continue  # without credentials it looks for those of the machine, in the network
            reply = child.ask({"action": "configure", "provider": code, "credentials": {}}, seconds=20)
            error = str(reply.get("error", ""))
            asked = re.findall(r"\b[A-Z0-9]+_[A-Z0-9_]+\b", error.partition("missing")[2])
            known = {name for wanted in entry.required for names in wanted for name in names} | set(entry.also)
            if "unrecognized" in error or not set(asked) <= known:
                wrong[code] = error
    finally:
        child.close()
    assert wrong == {}
