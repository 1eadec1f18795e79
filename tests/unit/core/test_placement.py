from __future__ import annotations

import posixpath
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knit.core.forbidden import never
from knit.core.placement import plausible, target
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
    ["", "a.pem", "./a", "/", "/.", "/a/.", "/etc/ssl/", "/etc/ssl/../passwd", "/..", "/\0b", "/\nb", "/" + "a" * 5000],
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
