"""The root file systems that hosts begin with: Debian 12 as a provider's image has it, made once and never written to.

Used by ``lan``. A host writes to a disk of its own, laid over one of these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.docker import debian
from tests.docker.engine import cache

__all__ = ["USER", "home", "root"]

USER = "debian"
"""Who may log in to a fresh host, with a password, and become root with it."""

_KEPT_SECONDS = 30 * 86_400
_PACKAGES = (
    "cron",
    "curl",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "locales",
    "logrotate",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "unattended-upgrades",
)
_HOOKS = (
    f'chroot "$1" useradd --create-home --shell /bin/bash --groups sudo,adm {USER}',
    # Keys that many hosts have are no keys; each host is given its own.
    'rm -f "$1"/etc/ssh/ssh_host_*',
    'printf "PasswordAuthentication yes\\nHostKey /etc/ssh/ssh_host_ed25519_key\\n" >"$1"/etc/ssh/sshd_config.d/image.conf',
    # Nobody's tests wait for mirrors.
    'chroot "$1" systemctl disable --quiet apt-daily.timer apt-daily-upgrade.timer',
)


def home() -> Path:
    """Where hosts and what they begin with lie."""
    return cache() / "hosts"


def root() -> Path:
    """A folder that is a host's root before its first boot; read only, whatever the permissions say."""
    archive = debian.system(_PACKAGES, _HOOKS)
    folder = home() / "roots" / archive.stem
    with debian.alone("hosts-roots"):
        if not folder.exists():
            part = folder.with_name(f"part-{folder.name}")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            command = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
            subprocess.run([*command, f"--file={archive}", f"--directory={part}"], check=True)
            part.rename(folder)
            _forget_old(folder)
        os.utime(folder)
    return folder


def _forget_old(folder: Path) -> None:
    for old in folder.parent.iterdir():
        if old != folder and time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(old)
