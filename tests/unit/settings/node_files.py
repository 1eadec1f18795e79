"""Node files and certificates' names made at random, and what may never come of them.

`python -m tests.unit.settings.node_files SEED CASES` prints what breaks a rule. The oracle shares no code with what it
judges, but for the parser of TOML.
"""

from __future__ import annotations

import json
import os.path
import random
import re
import sys
import tomllib
from collections.abc import Iterator

from knit.core.model.places import Content, FileSpec, Layout, NodeFile, Place
from knit.core.outputs import file_name
from knit.core.takes import path_of, place_of
from knit.errors import Elsewhere, KnitError, Misconfigured, Refused
from knit.settings.node_file import described

ONLY = Place(name="default")
ODD = 0.06
"""How often something is not as it should be, of each thing there is to say."""

PLAIN = ("/srv/tls", "/etc/ssl/knit", "/etc/nginx/tls", "/var/lib/haproxy/certs", "/srv/tls/./", "/opt/ü")
FLIPPED = ("/srv/tls/{name}", "/var/lib/knit-{name}/live-{name}", "/etc/ssl/knit/{name}")
FOLDERS = (
    *("/srv/{name}/x", "/etc/ssl/certs", "/etc/ssh", "/home/b/.ssh", "/etc", "", "/srv/../etc", "srv"),
    *("/usr/lib/x", "/usr/local/etc/tls", "/etc/cron.d", "/proc/self", "/home/a/.gnupg", "/run/systemd/x", "/bin"),
)
FILES = (
    *("{name}.crt", "{name}.pem", "{name}.p12", "{name}.key", "all-{name}.pem", "{name}-a", "{name}.chain"),
    *("a{name}b.p12", "{name}", "{name}.x", "é{name}", "{name}.{name}.b"),
)
STRANGE = (
    *("..", ".", "", "{name}/", "{x}", "authorized_keys", "{name}.conf", "sudoers", ".bashrc", "{name}\\n", "all.pem"),
    *("{name}\\u0000", "x" * 260, "ca-bundle.crt", "{name}.service", ".{name}", "{name}.d/x", "crontab", "{name}"),
)
MODES = ("0600", "0440", "0644", "640", "0666", "0777", "4755", "0007")
LABELS = (
    "a",
    "www",
    "example",
    "org",
    "*",
    "..",
    "",
    "_wildcard",
    "xn--p1ai",
    "A",
    "x" * 63,
    "x" * 64,
    "-",
    "a/b",
    "é",
)
NAMES = (
    "localhost",
    "sudoers",
    "authorized_keys",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "{name}",
    ".",
    "..",
)
KEYS = ("certs:shop.example", "certs:mail", "x", "", "certs:../../etc", "*", "[")
GLOBS = (
    "*",
    "certs:*",
    "certs:shop.*",
    "certs:[a-m]*",
    "?",
    "x",
    "",
    "[",
    "[!]",
    "*" * 40,
    "*.example.org",
    "www.a.org",
)
DANGEROUS = re.compile(
    r"^/(bin|boot|lib\w*|sbin|proc|sys|usr/(?!local/etc/)|dev/(?!shm/))/"
    r"|^/etc/(ssh|ssl/certs|cron[^/]*|systemd|sudoers)\b|^/etc/[^/]+\.d/|^/run/(systemd|udev)/"
    r"|/\.(ssh|gnupg|bash|profile)|/(authorized_|sudoers|crontab|ca-bundle)[^/]*$|\.(conf|service|timer|rules|json|toml)$"
    r"|^(/etc)?/[^/]+(?<!\.crt)(?<!\.key)(?<!\.pem)(?<!\.chain)$"
)
JUNK = ("1", "true", "[]", "{}", '""', "1979-05-27", "nan", "[[1]]", '"\\u0007"', "{ a = 1 }", "99999999999999999999")


def cases(seed: int, count: int) -> Iterator[tuple[str, list[str]]]:
    """A node file and some names that certificates may have."""
    dice = random.Random(seed)
    for _ in range(count):
        yield _node(dice), [_name(dice) for _ in range(6)]


def _node(dice: random.Random) -> str:
    places = dice.sample(["web", "mail", "db"], dice.choice((1, 1, 2, 3)))
    if _odd(dice):
        places[0] = dice.choice(("A", "x" * 41, "a b"))
    lines = ['name = "n1"'] if dice.random() < 0.3 else []
    if len(places) > 1 or dice.random() < 0.5:
        for place in places if not _odd(dice) else places[1:]:
            lines += ["[[take]]", *_take(dice), f"place = {json.dumps(place)}"]
    for number, place in enumerate(places):
        lines += [f"[place.{json.dumps(place)}]", *_place(dice, number)]
    if _odd(dice):
        lines.insert(
            dice.randrange(len(lines) + 1), f"{dice.choice(('nmae', 'reload', 'take', 'place'))} = {_junk(dice)}"
        )
    text = "\n".join(lines) + "\n"
    return text if not _odd(dice) else text[: dice.randrange(len(text))]


def _odd(dice: random.Random) -> bool:
    return dice.random() < ODD


def _take(dice: random.Random) -> Iterator[str]:
    for kind in ("keys", "names"):
        if dice.random() < 0.6:
            yield f"{kind} = {json.dumps([dice.choice(GLOBS) for _ in range(dice.choice((1, 1, 2)))])}"


def _place(dice: random.Random, number: int) -> Iterator[str]:
    flip = dice.random() < 0.3
    if dice.random() < 0.9:
        folder = dice.choice(FLIPPED if flip else PLAIN) if not _odd(dice) else dice.choice(FOLDERS)
        names = dice.sample(FILES[number::3] if not _odd(dice) else STRANGE, dice.choice((1, 2, 3)))
        yield f"files = [{', '.join(_file(dice, folder, name) for name in names)}]"
        if flip:
            yield 'layout = "flip"'
    options = {
        "check": ('"true"', '""'),
        "reload": ('"true"',),
        "probe": ('{ connect = "127.0.0.1:443" }', "{}"),
        "window": ('"Sun 02:00-05:00"',),
        "create_dirs": ("true",),
        "on_remove": ('"keep"',),
        "preset": ('"nginx"',),
    }
    for key, values in options.items():
        if dice.random() < 0.2:
            yield f"{key} = {dice.choice(values) if not _odd(dice) else _junk(dice)}"


def _file(dice: random.Random, folder: str, name: str) -> str:
    if _odd(dice):
        folder = dice.choice(FOLDERS)
    content = dice.choice(tuple(Content))
    keys = [f'content = "{content}"', f'path = "{folder}/{name}"']
    if (content in {"pkcs12", "jks"}) is not _odd(dice):
        keys.append('password_file = "/etc/knit/password"')
    if dice.random() < 0.3:
        keys.append(f'mode = "{dice.choice(MODES[:2] if not _odd(dice) else MODES)}"')
    if dice.random() < 0.1:
        account = dice.choice(("root", "0") if not _odd(dice) else ("no-such", "-1"))
        keys.append(f'{dice.choice(("owner", "group"))} = "{account}"')
    return f"{{ {', '.join(keys)} }}"


def _junk(dice: random.Random) -> str:
    return dice.choice(JUNK)


def _name(dice: random.Random) -> str:
    if dice.random() < 0.2:
        return dice.choice(NAMES)
    return ".".join(dice.choice(LABELS[:5] if dice.random() < 0.6 else LABELS) for _ in range(dice.randrange(1, 5)))


def broken(text: str, names: list[str]) -> tuple[bool, list[str]]:
    """Whether the file was taken, and which rules what came of it breaks."""
    try:
        node = described("node.toml", text, name="n", only=ONLY)
    except Misconfigured as error:
        return False, [] if "\n" not in str(error) else [f"two lines: {error}"]
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is what is looked for
        return False, [f"{type(error).__name__}: {error}"]
    return True, [*_unsafe(node, text), *(said for name in names for said in _astray(node, text, name))]


def _unsafe(node: NodeFile, text: str) -> Iterator[str]:
    content = tomllib.loads(text)
    for place in node.places.values():
        said = content.get("place", {}).get(place.name, {}).get("files", [])
        if len(place.files) != len(said) and said:
            yield f"{place.name}: another number of files"
        for one in place.files:
            if one.content in {"privkey", "combined", "pkcs12", "jks"} and (one.mode or 0) & 0o007:
                yield f"{one.path}: others may read the key"
            if (one.mode or 0) & 0o7113:
                yield f"{one.path}: mode {one.mode:o}"


def _astray(node: NodeFile, text: str, name: str) -> Iterator[str]:
    taken: dict[str, str] = {}
    for key in KEYS:
        try:
            place_of(node, key, lambda: [name])
        except Elsewhere:
            continue
    for place in node.places.values():
        for one in place.files:
            try:
                path = path_of(one, file_name(name))
            except Refused:
                continue
            except KnitError as error:
                yield f"{name!r}: {type(error).__name__}"
                continue
            yield from (f"{name!r} -> {path!r}: {said}" for said in _wrong(place, one, path))
            other = taken.setdefault(path, place.name)
            if other != place.name or [spec.path for spec in place.files].count(one.path) > 1:
                yield f"{name!r} -> {path!r}: {other} and {place.name}"


def _wrong(place: Place, one: FileSpec, path: str) -> Iterator[str]:
    folder, _, base = path.rpartition("/")
    meant = one.path.rpartition("/")[0]
    if not path.startswith("/") or os.path.normpath(path) != path or not path.isprintable():
        yield "is no clean path"
    if place.layout is Layout.FLIP and "{name}" in meant:
        folder, meant = folder.rpartition("/")[0], meant.rpartition("/")[0]
    if folder != meant or "{" in path:
        yield f"is not in {meant}"
    if base in {"", ".", ".."} or any(len(part.encode()) > 255 for part in path.split("/")):
        yield "has a name that no file has"
    if DANGEROUS.search(path):
        yield "is the system's"


def run(seed: int, count: int) -> tuple[int, list[str]]:
    """How many files were taken, and all that is wrong."""
    taken, found = 0, []
    for text, names in cases(seed, count):
        good, said = broken(text, names)
        taken += good
        found += [f"{one}\n{text}" for one in said]
    return taken, found


if __name__ == "__main__":
    number, problems = run(int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write("\n".join((f"{number} of {sys.argv[2]} taken", *problems[:20], "")))
    sys.exit(1 if problems else 0)
