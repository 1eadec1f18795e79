"""The file of a node: what it may say, and what is said of what it may not."""

from __future__ import annotations

import os
import re
from datetime import UTC, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from knit.core.model.places import (
    Content,
    FileSpec,
    Layout,
    NodeFile,
    Place,
    Probe,
    StartTls,
    Take,
    Window,
)
from knit.core.presets import PRESETS
from knit.errors import Misconfigured
from knit.settings.environment import Environment
from knit.settings.node import NodeSettings, node
from knit.settings.node_keys import FILE, PLACE, PROBE, TAKE, TOP
from knit.settings.trusted import LONGEST

BASE = {"KNIT_VALKEY_URL": "redis://valkey", "HOME": "/home/n"}
CRT, KEY = (
    '{ content = "fullchain", path = "/srv/tls/{name}.crt" }',
    '{ content = "privkey", path = "/srv/tls/{name}.key"',
)
ONE = f"[place.web]\nfiles = [\n  {CRT},\n  {KEY} }},\n]\n"
PAGE = Path(__file__).parents[3] / "docs" / "operations" / "node-file.md"


def read(text: str, **variables: str) -> NodeFile:
    return NodeSettings.read(Environment({**BASE, "KNIT_NODE": text, **variables})).node


def refused(text: str, **variables: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        read(text, **variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def place(text: str) -> Place:
    (found,) = read(text).places.values()
    return found


def test_without_a_file_all_goes_to_the_values_own_paths_with_the_reload_command() -> None:
    plain = NodeSettings.read(Environment({**BASE, "KNIT_RELOAD_CMD": "true"}))
    assert plain.node_from is None
    assert plain.node.takes == ()
    assert plain.node.places == {"default": Place(name="default", reload="true")}
    assert re.fullmatch(r"[A-Za-z0-9._-]+", plain.node.name)


def test_a_file_that_only_has_a_name_changes_nothing_else() -> None:
    assert read('name = "web1"\n', KNIT_RELOAD_CMD="true") == NodeFile(
        name="web1", places={"default": Place(name="default", reload="true")}
    )


def test_what_is_not_said_of_a_place_is_as_without_a_file() -> None:
    assert place("[place.web]\n") == Place(name="web")
    assert place(ONE).files == (
        FileSpec(content=Content.FULLCHAIN, path="/srv/tls/{name}.crt"),
        FileSpec(content=Content.PRIVKEY, path="/srv/tls/{name}.key"),
    )


FLIP = '[place.web]\nfiles = [{ content = "combined", path = "/srv/tls/{name}/all.pem" }]\n'
RELOADED = f'{ONE}reload = "true"\n'
FLIPS: list[tuple[str, str, str, Any]] = [
    (ONE, "check", '"nginx -t"', "nginx -t"),
    (ONE, "reload", '"nginx -s reload"', "nginx -s reload"),
    (ONE, "probe", '{ connect = "[::1]:443" }', Probe(connect="[::1]:443")),
    (ONE, "probe", '{ connect = "m:25", starttls = "smtp" }', Probe(connect="m:25", starttls=StartTls.SMTP)),
    (RELOADED, "window", '"Sun 02:00-05:00"', Window(days=frozenset({6}), start=time(2), end=time(5), zone=UTC)),
    (
        *(RELOADED, "window", '"daily 02:00-05:00 Europe/Zurich"'),
        Window(days=frozenset(range(7)), start=time(2), end=time(5), zone=ZoneInfo("Europe/Zurich")),
    ),
    (ONE, "create_dirs", "true", True),
    (FLIP.replace("flip", ""), "layout", '"flip"', Layout.FLIP),
]


@pytest.mark.parametrize(("head", "key", "value", "read_as"), FLIPS)
def test_a_key_of_a_place_changes_what_is_read(head: str, key: str, value: str, read_as: object) -> None:
    assert getattr(Place(name="web"), key) != read_as
    assert getattr(place(f"{head}{key} = {value}\n"), key) == read_as


def test_a_key_of_a_file_changes_what_is_read(tmp_path: Path) -> None:
    more = 'mode = "0640", owner = "root", group = "0", password_file = "/srv/p"'
    (found,) = place(f'[place.web]\nfiles = [{{ content = "pkcs12", path = "/srv//{{name}}.p12", {more} }}]').files
    assert found == FileSpec(
        content=Content.PKCS12, path="/srv/{name}.p12", mode=0o640, owner="root", group="0", password_file="/srv/p"
    )


def test_takes_are_read_in_their_order() -> None:
    text = (
        '[[take]]\nkeys = ["a*"]\nplace = "web"\n[[take]]\nnames = ["*.EXAMPLE.org"]\nplace = "rest"\n'
        '[[take]]\nplace = "rest"\n[place.web]\n[place.rest]\n'
    )
    assert read(text).takes == (
        Take(keys=("a*",), place="web"),
        Take(names=("*.example.org",), place="rest"),
        Take(place="rest"),
    )


def test_a_preset_stands_for_what_is_not_said() -> None:
    preset = PRESETS["nginx"]
    found = place('[place.web]\npreset = "nginx"\n')
    assert (found.name, found.preset) == ("web", "nginx")
    assert (found.check, found.reload, found.probe) == (preset.check, preset.reload, preset.probe)
    assert preset.check, preset.probe
    own = place('[place.web]\npreset = "nginx"\ncheck = ""\nreload = "true"\nprobe = {}\n')
    assert (own.check, own.reload, own.probe) == (None, "true", None)
    assert place('[place.web]\npreset = "nginx"\nprobe = { connect = "a:1" }\n').probe == Probe(connect="a:1")
    smtp = place('[place.web]\npreset = "nginx"\nprobe = { starttls = "imap" }\n').probe
    assert preset.probe is not None
    assert smtp == Probe(connect=preset.probe.connect, starttls=StartTls.IMAP)


TAKE_ALL = '[[take]]\nplace = "web"\n'
WRONG: list[tuple[str, str]] = [
    ("/etc/knit/node.toml", "the path of a file that does is for KNIT_NODE_FILE"),
    ("name = 1", "line 1: name = 1: must be text"),
    ('name = "a b"', "line 1: name = 'a b': must be 1 to 64"),
    ('nam = "a"', "line 1: nam: no such key (did you mean name?)"),
    ("[places.web]", "line 1: places: no such key (did you mean place?)"),
    ('[[take]]\nkey = ["a"]\nplace = "web"\n[place.web]', "line 2: take 1.key: no such key (did you mean keys?)"),
    ('[[take]]\nkeys = "a"\nplace = "web"\n[place.web]', "line 2: keys = 'a': must be a list of globs"),
    ('[[take]]\nkeys = [""]\nplace = "web"\n[place.web]', "line 2: keys = …: must be globs"),
    ('[[take]]\nnames = ["bücher.example"]\nplace = "web"\n[place.web]', "line 2: names = …: must be globs"),
    ('[[take]]\nkeys = ["a"]\n[place.web]', "line 1: take 1: place is missing"),
    ('[[take]]\nplace = "wbe"\n[place.web]', "line 2: take 1: no place is called 'wbe' (web)"),
    ('[[take]]\nplace = "default"\n', "line 2: take 1: no place is called 'default' (none is described)"),
    (f'{TAKE_ALL}[[take]]\nkeys = ["a"]\nplace = "web"\n[place.web]', "line 3: take 2: no certificate reaches it"),
    ("[place.a]\n[place.b]", "which certificates go to which of a, b?"),
    (f"{TAKE_ALL}[place.web]\n[place.b]", "line 4: place.b: no take names it"),
    ("[place.A]", "line 1: place 'A': a name must be"),
    ("place.web = 1", "line 1: place.web: must be a table"),
    ("place = 1", "line 1: place = 1: must be a table"),
    ("[place.web]\nrelaod = 'x'", "line 2: place.web.relaod: no such key (did you mean reload?)"),
    ('[place.web]\npreset = "ngnix"', "line 2: preset = 'ngnix': must be one of "),
    ('[place.web]\nlayout = "flop"', 'line 2: layout = \'flop\': must be one of "pair", "flip"'),
    ('[place.web]\nlayout = "flip"', 'line 2: layout = "flip": needs files'),
    ('[place.web]\non_remove = "burn"', "line 2: on_remove = 'burn': must be one of"),
    ('[place.web]\non_remove = "delete"', 'line 2: on_remove = "delete": knit does not remove files yet'),
    ('[place.web]\nwindow = "Sun 02:00-03:00"', "line 2: window: needs a reload"),
    ("[place.web]\ncreate_dirs = 1", "line 2: create_dirs = 1: must be true or false"),
    ('[place.web]\nreload = ["a"]', "line 2: reload = …: must be text"),
    ('[place.web]\nreload = "a\\u0000"', "must be a command for sh -c"),
    ("[place.web]\nprobe = { starttls = 'smtp' }", "line 2: place.web.probe: connect is missing"),
    ("[place.web]\nprobe = { connect = 'a:1', sni = 'x' }", "line 2: place.web.probe.sni: no such key"),
    ("[place.web]\nprobe = { connect = 'a:1', starttls = 'xmpp' }", "starttls = 'xmpp': must be one of"),
    ("[place.web]\nprobe = '127.0.0.1:443'", "line 2: probe = '127.0.0.1:443': must be a table"),
    ('[place.web]\nwindow = "sometimes"', "line 2: window = 'sometimes': must be days and times such as"),
    ('[place.web]\nwindow = "Sun 02:00-03:00 Europe/Atlantis"', "zone that this machine knows, not 'Europe/Atlantis'"),
    ('[place.web]\nwindow = "Sun 02:00-03:00 Europe"', "zone that this machine knows, not 'Europe'"),
    ('[place.web]\nwindow = "Sun 02:00-03:00 ../../etc/passwd"', "zone that this machine knows"),
    ("[place.web]\nfiles = { content = 'cert' }", "line 2: files = …: must be a list of tables"),
    ("[place.web]\nfiles = ['x']", "line 2: files = …: must be a table"),
    ("[place.web]\nfiles = [\n  { content = 'cert' },\n]", "line 2: place.web.files 1: path is missing"),
    ("[[place.web.files]]\npath = '/a'", "line 1: place.web.files 1: content is missing"),
    (ONE.replace("path =", "paht =", 1), "line 2: place.web.files 1.paht: no such key (did you mean path?)"),
    (ONE.replace("fullchain", "fulchain"), "content = 'fulchain': must be one of"),
    (ONE.replace(".key", ".crt"), "/srv/tls/{name}.crt: two files of one place"),
    (ONE.replace("/srv/tls/{name}.key", "/srv//tls/./{name}.crt"), "/srv/tls/{name}.crt: two files of one place"),
    (ONE.replace("{name}.key", "a.key"), "/srv/tls/a.key: more than one certificate may come here"),
    (ONE.replace("/srv/tls/{name}.key", "/srv/{name}/key"), "/srv/{name}: {name} in a folder's name is for"),
    (ONE.replace("/srv/tls/{name}.key", "srv/{name}.key"), "must be the absolute path of a file"),
    (ONE.replace("/srv/tls/{name}.key", "/srv/../{name}.key"), "must be the absolute path of a file"),
    (ONE.replace("/srv/tls/{name}.key", "/srv/{name}/"), "must be the absolute path of a file"),
    (ONE.replace("/srv/tls/{name}.key", "/srv/{domain}.key"), "no other braces"),
    (ONE.replace("/srv/tls/{name}.key", "/etc/ssl/certs/{name}.key"), "is a file that knit never writes"),
    (ONE.replace("/srv/tls/{name}.key", "/home/a/.ssh/{name}.key"), "is a file that knit never writes"),
    (ONE.replace("/srv/tls/{name}.key", f"/srv/{{name}}.{'k' * 250}"), "a part of it has more than 255 bytes"),
    (f"{ONE}layout = 'flip'", "the folder is one certificate's; say {name}"),
    (FLIP.replace("tls/{name}/all", "{name}/{name}/all") + "layout = 'flip'", "which alone has {name} in its name"),
    (FLIP.replace("/srv/tls", "") + "layout = 'flip'", "which alone has {name} in its name"),
    (FLIP.replace("{name}/all", "all/{name}") + "layout = 'flip'", "the folder is one certificate's"),
]

MODES = [
    ('mode = "0644"', "mode 0644 lets others at the key"),
    ('mode = "0601"', "must be a mode that lets nobody execute the file"),
    ('mode = "4600"', "must be text of three or four octal digits"),
    ("mode = 600", "must be text of three or four octal digits"),
    ("mode = 0o600", "must be text of three or four octal digits"),
    ('mode = "0040"', "must be a mode that lets the owner read the file"),
    ('owner = "nobody-such"', "/srv/tls/{name}.key: this machine knows no owner called 'nobody-such'"),
    ('group = "nobody-such"', "/srv/tls/{name}.key: this machine knows no group called 'nobody-such'"),
    ('owner = "4294967295"', "this machine knows no owner called '4294967295'"),
    ('owner = ""', "must be a name or a number"),
    ('password_file = "/srv/p"', "password_file is for pkcs12 and jks only"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_told_with_file_line_and_what_is_allowed(text: str, said: str) -> None:
    told = refused(text)
    assert told.startswith("KNIT_NODE")
    assert said in told


@pytest.mark.parametrize(("more", "said"), MODES)
def test_what_a_file_with_the_key_may_not_be_is_told(more: str, said: str) -> None:
    assert said in refused(ONE.replace(KEY, f"{KEY}, {more}"))


@pytest.mark.parametrize("content", ["privkey", "combined", "pkcs12", "jks"])
def test_whatever_has_the_key_in_it_is_for_no_others(content: str) -> None:
    password = "" if content in {"privkey", "combined"} else ', password_file = "/srv/p"'
    table = '{ content = "%s", path = "/srv/{name}.x"%s, mode = "%s" }'
    text = f"[place.web]\nfiles = [{table % (content, password, '0644')}]"
    assert "lets others at the key" in refused(text)
    assert place(text.replace("0644", "0640")).files[0].mode == 0o640
    if password:
        assert "password_file is missing" in refused(text.replace(password, "").replace("0644", "0640"))


@pytest.mark.parametrize(
    "connect", ["127.0.0.1:443", "[::1]:8443", "localhost:25", "mail.example.org:65535", "my_host:1"]
)
def test_a_probe_goes_to_a_host_and_a_port(connect: str) -> None:
    assert place(f"[place.web]\nprobe = {{ connect = '{connect}' }}").probe == Probe(connect=connect)


@pytest.mark.parametrize(
    "connect",
    [
        *("", "443", ":443", "host", "host:", "host:0", "host:65536", "host:+1", "host:٤", "::1:443", "[::1]", "[x]:1"),
        *("a b:1", "-a:1", "a..b:1", "https://a:1", "a/b:1", "[::1:443", "[fe80::1%eth0]:443x", "h" * 64 + ":1"),
    ],
)
def test_anything_else_to_probe_is_refused(connect: str) -> None:
    assert "must be a host and a port" in refused(f"[place.web]\nprobe = {{ connect = '{connect}' }}")


def two(first: str, second: str, layout: str = "pair") -> str:
    text = '[[take]]\nkeys = ["a"]\nplace = "a"\n[[take]]\nplace = "b"\n'
    table = '[place.%s]\nlayout = "%s"\nfiles = [{ content = "cert", path = "%s" }]\n'
    return text + table % ("a", layout, first) + table % ("b", "pair", second)


@pytest.mark.parametrize(
    ("first", "second", "layout"),
    [
        ("/srv/{name}.crt", "/srv/{name}.crt", "pair"),
        ("/srv/www.example.crt", "/srv/{name}.crt", "pair"),
        ("/srv/{name}/crt", "/srv/www.example/{name}", "flip"),
        ("/srv/tls/crt", "/srv/tls/{name}.crt", "flip"),
        ("/srv/{name}/crt", "/srv/{name}", "flip"),
    ],
)
def test_two_places_never_write_one_file(first: str, second: str, layout: str) -> None:
    said = refused(two(first, second, layout))
    assert re.search(r"line \d+: /srv/.*: place.a has /srv/.*, which may be the same file or folder", said)


def test_two_places_may_share_a_folder() -> None:
    assert len(read(two("/srv/{name}.crt", "/srv/{name}.pem")).places) == 2
    assert len(read(two("/srv/a.crt", "/srv/{name}.pem")).places) == 2


def test_a_place_for_one_certificate_needs_no_name_in_its_paths() -> None:
    text = two("/srv/mail.crt", "/srv/{name}.pem")
    assert read(text).places["a"].files[0].path == "/srv/mail.crt"
    assert "more than one certificate may come here" in refused(text.replace('keys = ["a"]', 'keys = ["a*"]'))


def test_a_reload_command_beside_places_is_two_truths() -> None:
    assert refused(ONE, KNIT_RELOAD_CMD="true").startswith(
        "KNIT_RELOAD_CMD: cannot be set together with places; say it"
    )


def test_more_than_a_node_can_have_is_refused() -> None:
    many = "".join(f"[place.p{number}]\n" for number in range(257))
    assert "at most 256 tables" in refused(many)
    assert "a list of globs, at most 256" in refused(f'{ONE}[[take]]\nplace="web"\nkeys={["a"] * 257}')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(ONE)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return path


def from_file(path: Path) -> NodeFile:
    return node(Environment({**BASE, "KNIT_NODE_FILE": str(path)}))


def not_read(path: Path) -> str:
    with pytest.raises(Misconfigured) as caught:
        from_file(path)
    assert str(caught.value).startswith(f"KNIT_NODE_FILE={path}: ")
    return str(caught.value)


def test_a_file_that_only_its_owner_can_write_is_read(file: Path) -> None:
    assert list(from_file(file).places) == ["web"]
    assert NodeSettings.read(Environment({**BASE, "KNIT_NODE_FILE": str(file)})).node_from == str(file)
    file.write_text("x = 1")
    with pytest.raises(Misconfigured, match=f"^{re.escape(str(file))}, line 1: x: no such key"):
        from_file(file)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"must not be writable by its group or others (its mode is {mode:04o})" in not_read(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 12345, 0)
    assert "must be owned by root or by this process's user, and is owned by user 12345" in not_read(file)


def test_a_folder_that_others_can_write_in_is_refused_unless_it_is_sticky(file: Path) -> None:
    inner = file.parent / "a" / "b"
    inner.mkdir(parents=True)
    moved = file.rename(inner / "node.toml")
    inner.parent.chmod(0o777)
    assert f"others can write in {inner.parent}, and so put another file into its place" in not_read(moved)
    inner.parent.chmod(0o1777)
    assert list(from_file(moved).places) == ["web"]


def test_a_symbolic_link_is_judged_by_where_it_leads_and_by_where_it_lies(file: Path) -> None:
    open_to_all, closed = file.parent / "open", file.parent / "closed"
    open_to_all.mkdir(mode=0o755)
    closed.mkdir(mode=0o755)
    link = closed / "link.toml"
    link.symlink_to(file)
    assert list(from_file(link).places) == ["web"]
    moved = file.rename(open_to_all / "node.toml")
    link.unlink()
    link.symlink_to(moved)
    open_to_all.chmod(0o777)
    assert f"others can write in {open_to_all}" in not_read(link)
    open_to_all.chmod(0o755)
    closed.chmod(0o777)
    assert f"others can write in {closed}" in not_read(link)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is no regular file" in not_read(pipe)
    assert "is no regular file" in not_read(tmp_path)
    assert "cannot be read (No such file or directory)" in not_read(tmp_path / "none")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read (Too many levels of symbolic links)" in not_read(loop)
    assert "is no regular file" in not_read(Path("/dev/zero"))


def test_a_file_without_end_and_one_that_is_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"#" * (LONGEST + 1))
    assert f"has more than {LONGEST} bytes" in not_read(file)
    file.write_bytes(b"#" * LONGEST)
    assert from_file(file).takes == ()
    file.write_bytes(b"name = '\xff'")
    assert "not UTF-8 text" in not_read(file)


def examples() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_on_the_page_are_read() -> None:
    assert examples()
    for text in examples():
        found = read(re.sub(r'group = "[^"]*"', 'group = "0"', text))
        assert set(found.places) == {take.place for take in found.takes}


def test_every_key_is_on_the_page_and_read_here() -> None:
    page = PAGE.read_text()
    for key in (*TOP, *TAKE, *PLACE, *FILE, *PROBE):
        assert f"`{key.name}`" in page or key.name in {"take", "place"}
