from __future__ import annotations

import posixpath
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.forbidden import never
from knit.core.model.certificate import CertId
from knit.core.placement import Installed, Offer, PairFacts, judge, plausible, target
from knit.core.value import Mark, Value
from knit.errors import Refused


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/etc/ssl/a.pem", "/etc/ssl/a.pem"),
        ("//etc//ssl/./a.pem", "/etc/ssl/a.pem"),
        ("/etc/nginx/certs/*.example.org.pem", "/etc/nginx/certs/*.example.org.pem"),
        ("/dev/shm/a.key", "/dev/shm/a.key"),  # noqa: S108 -- a path to judge
        ("/home/me/certs/a b.key", "/home/me/certs/a b.key"),
        ("/etc/letsencrypt/live/x/privkey.pem", "/etc/letsencrypt/live/x/privkey.pem"),
        ("/var/lib/haproxy/..a.pem", "/var/lib/haproxy/..a.pem"),
    ],
)
def test_a_sensible_path_is_taken_without_its_detours(path: str, clean: str) -> None:
    assert target(path) == clean


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a.pem",
        "./a",
        "/",
        "/.",
        "/a/.",
        "/etc/ssl/",
        "/etc/ssl/../passwd",
        "/..",
        "/\0b",
        "/\nb",
        "/" + "a" * 5000,
        "/a" * 2049,
    ],
)
def test_what_is_no_absolute_path_of_a_file_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        target(path)


ROOTS = "/root"
"""The superuser's home."""


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/ld.so.preload", "/etc/crontab", "/etc/environment",
        "/etc/cron.d/knit", "/etc/cron.daily/knit", "/etc/profile.d/x.sh", "/etc/sudoers.d/x", "/etc/pam.d/sshd",
        "/etc/systemd/system/x.service", "/usr/lib/systemd/system/x.service", "/lib/systemd/system/x.service",
        "/run/systemd/system/x.service", "/etc/rc.local", "/etc/rc2.d/S01x", "/etc/init.d/x", "/etc/udev/rules.d/x",
        f"{ROOTS}/.ssh/authorized_keys", "/home/me/.ssh/id_rsa", "/srv/keys/authorized_keys", f"{ROOTS}/.bashrc",
        "/home/me/.profile", "/home/me/.config/autostart/x.desktop", "/home/me/.config/systemd/user/x.service",
        "/usr/bin/knit", "/bin/sh", "/sbin/init", "/usr/local/bin/x", "/boot/grub/grub.cfg", "/sys/x", "/dev/sda",
        "/proc/sys/kernel/core_pattern", "/var/spool/cron/crontabs/root", "/srv/repo/.git/hooks/post-merge",
        "/etc/apt/apt.conf.d/x", "//etc//passwd", "/etc/./passwd", "/srv/.knit-0-key.new.tmp",
    ],
)  # fmt: skip
def test_files_that_give_power_over_the_machine_are_never_written(path: str) -> None:
    with pytest.raises(Refused, match="never"):
        target(path)


@given(st.text(max_size=60) | st.lists(st.sampled_from(["etc", "..", ".", "", "passwd", "ssl", "a"])).map("/".join))
def test_whatever_is_taken_is_clean_and_allowed(path: str) -> None:
    try:
        clean = target(path)
    except Refused:
        return
    assert clean.startswith("/")
    assert not clean.startswith("//")
    assert clean == posixpath.normpath(clean)
    assert not {"..", "."} & set(clean.split("/"))
    assert not never(clean)
    assert target(clean) == clean


@pytest.mark.parametrize(("ahead", "taken"), [(-(10**9), True), (0, True), (60, True), (61, False), (2**40, False)])
def test_a_generation_is_a_second_that_has_come_by_a_clock_at_most_a_minute_ahead(ahead: int, *, taken: bool) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    assert plausible(int(now.timestamp()) + ahead, now) is taken


NOW = datetime(2026, 5, 1, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
DAY = timedelta(days=1)


def offer(generation: int | None, *, cert_id: int = 1, cert_path: str = "/a.crt", key_path: str = "/a.key") -> Offer:
    mark = None if generation is None else Mark(cert_id=CertId(cert_id), generation=generation, issued_at=NOW)
    value = Value(
        fullchain=b"chain",
        privkey=b"key",
        not_after=NOW,
        sha256="0" * 64,
        cert_path=cert_path,
        key_path=key_path,
        mark=mark,
    )
    return Offer.of("k", value)


def facts(begins: int, ends: int, *names: str, self_issued: bool = False) -> PairFacts:
    """From so many days from now, until so many."""
    return PairFacts(
        names=frozenset(names or ("a.example",)),
        primary=names[0] if names else "a.example",
        not_before=NOW + begins * DAY,
        not_after=NOW + ends * DAY,
        self_issued=self_issued,
    )


def installed(begins: int, ends: int, generation: int | None = 100, cert_id: int = 1) -> Installed:
    made = offer(generation).record(facts(begins, ends), None, NOW)
    return replace(made, generation=generation, cert_id=None if generation is None else CertId(cert_id))


def refused(new: PairFacts, generation: int | None, **there: Installed | PairFacts | None) -> bool:
    known: Any = there.get("known")
    found: Any = there.get("found")
    try:
        judge(offer(generation), new, known=known, found=found, now=NOW)
    except Refused:
        return True
    return False


NEWER, OLDER = facts(-1, 89), facts(-30, 60)
THERE = installed(-10, 80)


@pytest.mark.parametrize(
    ("new", "generation", "known", "is_refused"),
    [
        (NEWER, 101, THERE, False),
        (NEWER, 99, THERE, True),
        (NEWER, 99, replace(THERE, cert_id=CertId(2)), False),
        (OLDER, 101, THERE, False),
        (OLDER, 100, THERE, True),
        (OLDER, 99, replace(THERE, cert_id=CertId(2)), True),
        (OLDER, None, THERE, True),
        (OLDER, SECONDS + 10**6, THERE, True),
        (OLDER, 5, replace(THERE, generation=SECONDS + 10**6), False),
        (NEWER, 5, replace(THERE, generation=SECONDS + 10**6), False),
        (OLDER, 100, installed(-10, -1), False),
        (facts(-30, -20), 100, installed(-40, -25), False),
        (facts(-30, -20), 100, installed(-40, -20), True),
        (facts(-30, -2), 101, installed(-20, -1), True),
        (facts(-30, -2), 100, installed(-20, -5), False),
        (facts(-30, -2), 101, THERE, True),
        (facts(-30, 60), 100, installed(1, 91), False),
    ],
)
def test_what_is_installed_is_replaced_by_what_is_not_older(
    new: PairFacts, generation: int | None, known: Installed, *, is_refused: bool
) -> None:
    assert refused(new, generation, known=known) is is_refused


@pytest.mark.parametrize(
    ("found", "is_refused"),
    [
        (None, False),
        (facts(-10, 80), True),
        (facts(-10, 80, self_issued=True), False),
        (facts(-10, 80, "b.example"), False),
        (facts(-40, 50), False),
    ],
)
def test_what_others_put_there_counts_when_it_is_a_newer_pair_of_these_names(
    found: PairFacts | None, *, is_refused: bool
) -> None:
    assert refused(OLDER, 1, found=found) is is_refused


@pytest.mark.parametrize(
    ("generation", "cert_id", "known", "seen"),
    [
        (5, 1, 9, (9, 1)),
        (12, 1, 9, (12, 1)),
        (5, 2, 9, (5, 2)),
        (5, 1, SECONDS + 10**6, (5, 1)),
        (SECONDS + 10**6, 1, 9, (9, 1)),
        (SECONDS + 10**6, 1, None, (0, None)),
        (None, 1, 9, (9, 1)),
    ],
)
def test_a_generation_once_seen_is_not_forgotten(
    generation: int | None, cert_id: int, known: int | None, seen: tuple[int, int | None]
) -> None:
    before = installed(-10, 80, known)
    record = offer(generation, cert_id=cert_id).record(NEWER, before, NOW)
    assert (record.generation, record.cert_id) == seen


def test_key_and_chain_are_two_files() -> None:
    with pytest.raises(Refused, match="the same file"):
        offer(1, cert_path="/etc/ssl//a.pem", key_path="/etc/./ssl/a.pem")
