"""CPU and time per certificate against the commands `lego` and `certbot`, on the same CA and the same DNS server.

All three set and remove real TXT values by signed DNS updates, and the CA looks at them; none waits for them to be
seen. lego falls back to looking every 5 s when its first look at an authorization comes too early, which is how it is
used; so its time is shown once more on a CA that validates without looking.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from bench import processes
from bench.alone import Alone
from bench.centre import ZONES, Authority, Run, centre, name_of
from bench.figures import Figure
from bench.timing import median
from rig import debian
from rig.cache import cache_directory, exclusively
from rig.knot import Knot
from rig.lifeline import temporary_directory
from rig.pebble import Pebble, PebbleOptions
from rig.process import MissingError, RigError, program

CERTBOT = ("certbot==5.8.0", "certbot-dns-rfc2136==5.8.0")
IN_FLIGHT = 4
ROUNDS = 5
OURS, LEGO, CERTBOTS = 100, 6, 2
"""Certificates in each round."""
INSTALL_SECONDS = 300
RUN_SECONDS = 60


@dataclass(slots=True, kw_only=True)
class Command:
    """A client that is run anew for each certificate, with its account kept in a folder."""

    name: str
    words: Callable[[str], list[str]]
    environment: Mapping[str, str]
    runs: list[Run] = field(default_factory=list)

    def issue(self, name: str) -> None:
        """One certificate. Raises RigError when the command fails."""
        cpu, began = processes.finished_cpu(), time.monotonic()
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            self.words(name), env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RigError(f"{self.name} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
        self.runs.append(Run(wall=time.monotonic() - began, cpu=processes.finished_cpu() - cpu))

    @property
    def typical(self) -> Run:
        """The first run, which makes the account, is left out.

        The time is the mean, as ours is: it takes one of two values, as the first look came too early or not.
        """
        counted = self.runs[1:]
        return Run(wall=mean(run.wall for run in counted), cpu=median([run.cpu for run in counted]))


def measure() -> list[Figure]:
    """The rounds alternate."""
    with _servers(always_valid=False) as (knot, pebble):
        lego, certbot, alone = _lego(knot, pebble), _certbot(knot, pebble), Alone(knot, pebble)
        alone.round(OURS, IN_FLIGHT)
        ours = _rounds(knot, pebble, ((lego, LEGO), (certbot, CERTBOTS)), lambda: alone.round(OURS, IN_FLIGHT))
        same = Run(wall=0, cpu=alone.cpu)
    with _servers(always_valid=True) as (knot, pebble):
        easy_lego = _lego(knot, pebble)
        easy = _rounds(knot, pebble, ((easy_lego, LEGO),))
    return [
        _figure("CPU per certificate: what the command does, too", lego, same, 0.25),
        _figure("CPU per certificate: what the command does, too", certbot, same, 1 / 60),
        _figure("CPU per certificate: worker path", lego, ours, 0.5),
        _figure("CPU per certificate: worker path", certbot, ours, 1 / 35),
        _figure("time per certificate: worker path", lego, ours, 1 / 50),
        _figure("time per certificate where the CA does not look: worker path", easy_lego, easy),
    ]


@contextmanager
def _servers(*, always_valid: bool) -> Iterator[tuple[Knot, Pebble]]:
    knot = Knot(*ZONES)
    options = PebbleOptions(
        always_valid=always_valid,
        dns_server=knot.address,
        nonce_reject_percent=0,
        retry_after_authz=0,
        retry_after_order=0,
    )
    pebble = Pebble(options)
    try:
        knot.start()
        pebble.start()
        yield knot, pebble
    finally:
        pebble.close()
        knot.close()


def _rounds(
    knot: Knot,
    pebble: Pebble,
    others: Sequence[tuple[Command | str, int]],
    besides: Callable[[], None] = lambda: None,
) -> Run:
    ours: list[Run] = []
    authority = Authority(directory_url=pebble.directory_url, ca_file=Path(pebble.ca_file))
    with centre(knot, authority, in_flight=IN_FLIGHT) as workers:
        workers.run(OURS)
        for turn in range(ROUNDS):
            ours.append(workers.run(OURS))
            besides()
            for command, times in others:
                if isinstance(command, Command):
                    for number in range(times + (turn == 0)):
                        command.issue(name_of(f"{command.name}{turn}-", number))
    return Run(wall=median([one.wall for one in ours]), cpu=median([one.cpu for one in ours]))


def _figure(what: str, other: Command | str, ours: Run, goal: float | None = None) -> Figure:
    """`other` is a text where the command cannot be had."""
    name = other.name if isinstance(other, Command) else "other"
    title = f"{what}, {IN_FLIGHT} in flight / `{name}` command"
    if isinstance(other, str):
        return Figure.skipped(title, other)
    mine, theirs = (run.cpu if what.startswith("CPU") else run.wall for run in (ours, other.typical))
    return Figure(
        what=title, ours=f"{mine * 1000:.1f} ms", baseline=f"{theirs * 1000:.0f} ms", number=mine / theirs, goal=goal
    )


def _lego(knot: Knot, pebble: Pebble) -> Command | str:
    try:
        path = program("lego") or debian.unpacked("lego") / "usr/bin/lego"
    except MissingError as missing:
        return str(missing)
    home = temporary_directory("lego")
    options = ["--accept-tos", "--email", "ops@knit.example", "--server", pebble.directory_url, "--path", str(home)]
    options += ["--dns", "rfc2136", "--dns.disable-cp", "--dns.resolvers", knot.address]
    return Command(
        name="lego",
        words=lambda name: [str(path), *options, "--domains", name, "run"],
        environment={
            "LEGO_CA_CERTIFICATES": str(pebble.ca_file),
            "RFC2136_NAMESERVER": knot.address,
            "RFC2136_TSIG_KEY": knot.key.name,
            "RFC2136_TSIG_SECRET": knot.key.secret,
            "RFC2136_TSIG_ALGORITHM": f"{knot.key.algorithm}.",
            "RFC2136_POLLING_INTERVAL": "1",
        },
    )


def _certbot(knot: Knot, pebble: Pebble) -> Command | str:
    try:
        path = _installed_certbot()
    except MissingError as missing:
        return str(missing)
    home = temporary_directory("certbot")
    folders = [word for kind in ("config", "work", "logs") for word in (f"--{kind}-dir", str(home / kind))]
    options = ["--non-interactive", "--agree-tos", "--email", "ops@knit.example", "--server", pebble.directory_url]
    options += ["--dns-rfc2136", "--dns-rfc2136-propagation-seconds", "0"]
    options += ["--dns-rfc2136-credentials", str(_credentials(home, knot))]
    return Command(
        name="certbot",
        words=lambda name: [str(path), "certonly", *options, *folders, "--domain", name],
        environment={"REQUESTS_CA_BUNDLE": str(pebble.ca_file)},
    )


def _credentials(home: Path, knot: Knot) -> Path:
    host, port = knot.address.rsplit(":", 1)
    settings = {
        "server": host,
        "port": port,
        "name": knot.key.name,
        "secret": knot.key.secret,
        "algorithm": knot.key.algorithm.upper(),
    }
    path = home / "rfc2136.ini"
    path.write_text("".join(f"dns_rfc2136_{name} = {value}\n" for name, value in settings.items()), encoding="utf-8")
    path.chmod(0o600)
    return path


def _installed_certbot() -> Path:
    """In a virtual environment of its own, with the Python that runs this."""
    folder = cache_directory() / "-".join(CERTBOT).replace("==", "-")
    with exclusively("certbot"):
        if not (folder / "installed").exists():
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([str(folder / "bin" / "pip"), "install", "--quiet", *CERTBOT])
            (folder / "installed").touch()
    return folder / "bin" / "certbot"


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"{CERTBOT[0]}: not installed within {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MissingError(f"{CERTBOT[0]} cannot be installed: {last}")
