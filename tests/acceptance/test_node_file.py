"""`knit watch` with a node file: what it takes, where it goes and when it is reloaded is as the file says."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from knit.core.model.certificate import Bundle
from tests.acceptance.knit import PROGRAM, environment
from tests.integration.node import pki
from tests.integration.node.conftest import LAYOUT, Publisher, until

SECONDS = 30.0


class Watcher:
    """A machine with a node file: folders, what its commands have noted, and `knit watch` on it."""

    def __init__(self, valkey_url: str, home: Path) -> None:
        self.home, self.file, self._log = home, home / "node.toml", home / "log"
        self.tls = home / "tls"
        self.tls.mkdir(mode=0o755)
        self._settings = {
            "KNIT_VALKEY_URL": valkey_url,
            "KNIT_INDEX_KEY": LAYOUT.index,
            "KNIT_STATE_DIR": str(home / "state"),
            "KNIT_WATCH_INTERVAL": "60",
            "KNIT_NODE_FILE": str(self.file),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def describe(self, text: str) -> None:
        """Write the node file; `TLS` is the folder, and `NOTE(x)` a command that notes x."""
        text = text.replace("TLS", str(self.tls))
        for word in ("web", "mail", "own", "check"):
            text = text.replace(f"NOTE({word})", f"echo x >> {self.home}/{word}")
        self.file.write_text(text)
        self.file.chmod(0o644)

    def set(self, **more: str) -> None:
        self._settings |= more

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "watch"], env=environment(**self._settings), stderr=log)

    def once(self) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAM), "watch", "--once"]
        around = environment(**self._settings)
        return subprocess.run(command, env=around, capture_output=True, text=True, check=False, timeout=60)

    def noted(self, word: str) -> int:
        path = self.home / word
        return len(path.read_text().splitlines()) if path.exists() else 0

    def said(self, words: str) -> int:
        return self._log.read_text().count(words)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.tls.iterdir()}


@pytest.fixture
def watcher(valkey_url: str, tmp_path: Path) -> Iterator[Watcher]:
    tmp_path.chmod(0o755)
    watcher = Watcher(valkey_url, tmp_path)
    yield watcher
    if watcher.process is not None:
        watcher.process.kill()
        watcher.process.wait()


@pytest.fixture
def publisher(valkey_url: str, watcher: Watcher) -> Iterator[Publisher]:
    publisher = Publisher(valkey_url, watcher.tls)
    yield publisher
    publisher.link.close()


TWO = """
[[take]]
keys = ["certs:shop.*"]
place = "web"
[[take]]
names = ["*.mail.test"]
place = "mail"
[place.web]
files = [
  { content = "fullchain", path = "TLS/{name}.crt" },
  { content = "privkey", path = "TLS/{name}.key", mode = "0640", group = "GROUP" },
]
reload = "NOTE(web)"
[place.mail]
files = [{ content = "combined", path = "TLS/{name}.pem" }]
reload = "NOTE(mail)"
"""


def two() -> str:
    return TWO.replace("GROUP", str(os.getegid() if os.geteuid() else 12345))


def publish(publisher: Publisher, key: str, *names: str, generation: int = 1, days: float = 90) -> Bundle:
    bundle = pki.pair(*names, age=1 / generation, days=days)
    publisher.publish(key, pki.value(bundle, "/nowhere", generation=generation), generation)
    return bundle


def wait(condition: Callable[[], bool]) -> None:
    until(condition, SECONDS)


def test_each_certificate_goes_where_the_first_take_that_fits_it_says(watcher: Watcher, publisher: Publisher) -> None:
    watcher.describe(two())
    shop = publish(publisher, "certs:shop.a", "shop.test", "www.shop.test")
    mail = publish(publisher, "certs:mail", "*.mail.test")
    publish(publisher, "certs:other", "other.test")
    watcher.start()
    wait(lambda: watcher.noted("web") + watcher.noted("mail") == 2)
    wait(lambda: watcher.said("published values that are not for this node") == 1)
    assert watcher.said("count=1") == 1
    assert watcher.files() == {
        "shop.test.crt": shop.fullchain,
        "shop.test.key": shop.privkey,
        "_wildcard.mail.test.pem": mail.privkey + mail.fullchain,
    }
    about = (watcher.tls / "shop.test.key").stat()
    assert (about.st_mode & 0o777, about.st_gid) == (0o640, os.getegid() if os.geteuid() else 12345)
    assert (watcher.tls / "_wildcard.mail.test.pem").stat().st_mode & 0o777 == 0o600

    renewed = publish(publisher, "certs:shop.a", "shop.test", generation=2)
    wait(lambda: watcher.noted("web") == 2)
    assert watcher.files()["shop.test.crt"] == renewed.fullchain
    assert watcher.noted("mail") == 1, "the other place has nothing new"


def test_paths_in_the_file_need_no_root_and_those_in_values_do(watcher: Watcher, publisher: Publisher) -> None:
    roots = watcher.home / "roots"
    roots.mkdir()
    watcher.describe(f'{two()}\n[[take]]\nkeys = ["own:*"]\nplace = "own"\n[place.own]\nreload = "NOTE(own)"\n')
    watcher.set(KNIT_WATCH_ROOTS=str(roots))
    publish(publisher, "certs:shop.a", "shop.test")
    inside, outside = pki.pair("in.test"), pki.pair("out.test")
    publisher.publish("own:in", pki.value(inside, roots))
    publisher.publish("own:out", pki.value(outside, watcher.tls))
    done = watcher.once()
    assert done.returncode == 0, done.stderr
    assert (roots / "www.pem").read_bytes() == inside.fullchain
    assert set(watcher.files()) == {"shop.test.crt", "shop.test.key"}, "a value gets no leave by the node file"
    assert "is not below any of KNIT_WATCH_ROOTS" in done.stderr
    assert watcher.noted("own") == watcher.noted("web") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[place.web]\nrelaod = 'x'\n", "line 2: place.web.relaod: no such key (did you mean reload?)"),
        (two().replace('group = "', 'group = "no-such-'), "this machine knows no group called 'no-such-"),
        (two().replace("TLS/{name}.pem", "/etc/ssh/{name}.pem"), "is a file that knit never writes"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence_and_nothing_is_written(
    watcher: Watcher, publisher: Publisher, text: str, said: str
) -> None:
    publish(publisher, "certs:shop.a", "shop.test")
    watcher.describe(text)
    done = watcher.once()
    assert done.returncode == 2
    assert done.stderr.startswith(f"knit watch: {watcher.file}, line ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert watcher.files() == {}


def test_a_file_that_others_can_write_is_never_read(watcher: Watcher, publisher: Publisher) -> None:
    publish(publisher, "certs:shop.a", "shop.test")
    watcher.describe(two())
    watcher.file.chmod(0o666)
    done = watcher.once()
    assert (done.returncode, watcher.files(), watcher.noted("web")) == (2, {}, 0)
    assert "must not be writable by its group or others" in done.stderr


def in_some_days(days: int) -> str:
    """A window that opens then, for an hour."""
    return f"{datetime.now(UTC) + timedelta(days=days):%a} 12:00-13:00"


def test_a_reload_waits_for_the_window_and_not_where_life_is_short(watcher: Watcher, publisher: Publisher) -> None:
    watcher.describe(f'{two()}window = "{in_some_days(3)}"\ncheck = "NOTE(check)"\n')
    long = publish(publisher, "certs:mail", "*.mail.test")
    watcher.start()
    wait(lambda: "_wildcard.mail.test.pem" in watcher.files())
    wait(lambda: watcher.noted("check") == 1)
    wait(lambda: watcher.said("waits for the window") == 1)
    assert watcher.files()["_wildcard.mail.test.pem"].endswith(long.fullchain)
    assert watcher.noted("mail") == 0
    publish(publisher, "certs:shop.a", "shop.test")
    wait(lambda: watcher.noted("web") == 1)
    assert watcher.noted("mail") == 0, "another place's window is none of this one's"

    publish(publisher, "certs:brief", "brief.mail.test", days=2)
    wait(lambda: watcher.noted("mail") == 1)
    assert watcher.said("too late for what is served until") == 1


def test_an_open_window_is_no_reason_to_wait(watcher: Watcher, publisher: Publisher) -> None:
    watcher.describe(f'{two()}window = "daily 00:00-24:00"\n')
    publish(publisher, "certs:mail", "*.mail.test")
    watcher.start()
    wait(lambda: watcher.noted("mail") == 1)


def test_a_changed_file_is_gone_on_with_after_a_hang_up(watcher: Watcher, publisher: Publisher) -> None:
    watcher.describe(two())
    bundle = publish(publisher, "certs:shop.a", "shop.test")
    watcher.start()
    assert watcher.process is not None
    wait(lambda: watcher.noted("web") == 1)
    watcher.describe(two().replace("{name}.crt", "{name}.cert").replace("{name}.key", "{name}.private"))
    watcher.process.send_signal(signal.SIGHUP)
    wait(lambda: watcher.noted("web") == 2)
    assert watcher.files()["shop.test.cert"] == bundle.fullchain
    assert watcher.files()["shop.test.private"] == bundle.privkey
    watcher.file.write_text("nonsense")
    watcher.process.send_signal(signal.SIGHUP)
    wait(lambda: watcher.said("settings refused, keeping those in use") == 1)
    renewed = publish(publisher, "certs:shop.a", "shop.test", generation=2)
    wait(lambda: watcher.noted("web") == 3)
    assert watcher.files()["shop.test.cert"] == renewed.fullchain
