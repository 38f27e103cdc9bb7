"""The program that tells what a host is like, as JSON; ``found`` runs it there. Uses the standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Mounted anew at each boot, written by the system itself, or where an agent's data stays.
_ELSEWHERE = {
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/log",
    "/var/cache",
    "/var/backups",
    "/var/lib/paictl",
}
_ELSEWHERE |= {f"/var/lib/{one}" for one in ("apt", "dpkg", "systemd", "logrotate", "ucf", "private", "python", "sudo")}
# The accounts are told one by one.
_ACCOUNTS = {"passwd": "user", "group": "group", "shadow": "password", "gshadow": "password of group"}
_ITSELF = {"/etc/ld.so.cache", "/etc/.updated", "/var/.updated", "/etc/.pwd.lock", "/boot", "/root/.bash_history"}
# Copies that useradd and others make of what they change.
_COPIES = {f"/etc/{one}{end}" for one in _ACCOUNTS for end in ("", "-")} | {"/etc/subuid-", "/etc/subgid-"}
# What comes and goes by itself, or was waited for by somebody once.
_PASSING = (
    "user@",
    "user-runtime",
    "session",
    "systemd-tmpfiles",
    "logrotate.service",
    "apt-",
    "man-db",
    "network-",
    "console-getty",
)
_SETTINGS = ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf", "/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs")
# Counters, and what exists once for the whole machine.
_COUNTED = (
    "random",
    "pid",
    "ns_last",
    "nr",
    "state",
    "stat",
    "usage",
    "pty",
    "sched",
    "quota",
    "drop_caches",
    "mtu",
    "tainted",
)


def _files() -> Iterator[tuple[str, object]]:
    for folder, folders, names in os.walk("/"):
        here = Path(folder)
        folders[:] = [one for one in folders if _counts(here / one)]
        for path in (here / name for name in [*folders, *names]):
            if _counts(path):
                with suppress(FileNotFoundError):
                    yield str(path), _like(path)


def _counts(path: Path) -> bool:
    # Ansible's own folder in a home, empty once its programs have run.
    return str(path) not in _ELSEWHERE | _ITSELF | _COPIES and path.name not in {"__pycache__", ".ansible"}


def _like(path: Path) -> object:
    found = path.lstat()
    told: list[object] = [stat.filemode(found.st_mode), found.st_uid, found.st_gid]
    if stat.S_ISLNK(found.st_mode):
        return [*told, str(path.readlink())]
    if stat.S_ISREG(found.st_mode):
        # What a package brought is told apart by its size; what people write, by its content.
        small = str(path).startswith(("/etc/", "/usr/local/", "/opt/", "/root/", "/home/", "/srv/"))
        return [*told, _digest(path) if small else found.st_size]
    return told


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _said(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _accounts() -> Iterator[tuple[str, object]]:
    for file, what in _ACCOUNTS.items():
        for line in Path("/etc", file).read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            yield f"{what} {name}", rest


def _packages() -> dict[str, object]:
    told = (
        line.split() for line in _said("dpkg-query", "-W", "-f", "${binary:Package} ${Version} ${db:Status-Abbrev}\n")
    )
    return {name: version for name, version, *status in told if status == ["ii"]}


def _units() -> dict[str, object]:
    """What is switched on, and what runs, but for sessions of people and what the system starts for a moment."""
    found: dict[str, object] = {}
    for line in _said("systemctl", "list-unit-files", "--no-legend", "--plain"):
        name, enabled, *_ = line.split()
        if enabled != "transient":
            found[f"{name} at boot"] = enabled
    for line in _said("systemctl", "list-units", "--no-legend", "--plain", "--type=service,timer,socket,target"):
        name, _, active, *_ = line.split()
        if not name.startswith(_PASSING):
            found[f"{name} now"] = active
    return found


def _settings() -> Iterator[tuple[str, object]]:
    for place in _SETTINGS:
        for folder, _, names in os.walk(place):
            for path in (Path(folder, name) for name in names):
                name = str(path.relative_to("/proc/sys"))
                if not any(one in name for one in _COUNTED):
                    with suppress(OSError):
                        yield name, path.read_text(encoding="utf-8", errors="replace").strip()


def _tell() -> None:
    told = {
        "file": dict(_files()),
        "account": dict(_accounts()),
        "package": _packages(),
        "unit": _units(),
        "firewall": dict.fromkeys(_said("nft", "--stateless", "--terse", "list", "ruleset"), "there"),
        "setting": dict(_settings()),
        "sshd": dict.fromkeys(_said("sshd", "-T"), "said"),
    }
    json.dump(told, sys.stdout)


_tell()
