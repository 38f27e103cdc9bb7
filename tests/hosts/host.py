"""One host: what a test is told about it, and what it can do to it that nobody logged in could.

Used by tests, through the fixtures. What a driver may do it does over ssh; everything here stands for a person beside the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.hosts import roots
from tests.hosts.lan import Lan, Refused
from tests.waiting import until

__all__ = ["GIGABYTE", "Host", "begin"]

GIGABYTE = 1 << 30

_KEEPER = Path(__file__).with_name("keeper.py")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIRST_ADDRESS = 11
_BOOT_SECONDS = 60
_PORT = 22
# What a disk does when its power goes: nothing that was not written is written, not even the journal (EXT4_IOC_SHUTDOWN).
_SHUTDOWN, _AT_ONCE = 0x8004587D, 2


@dataclass(frozen=True)
class Host:
    """One that ``begin`` made. ``host_key`` is a line's end of known_hosts: kind and key."""

    name: str
    address: str
    port: int
    user: str
    password: str
    host_key: str
    directory: Path
    lan: Lan

    def exec(self, argv: Sequence[str], given: str | None = None) -> str:
        """Run a program of the host as its root, whatever its network and logins are like, and return what it said."""
        return self.lan.run([*self._inside(), *argv], given)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """What runs a program of the host as its root, for whoever wants to start it."""
        return [*self.lan.enter(), *self._inside(), *argv]

    def ssh(self, command: str, seconds: float = 30) -> str:
        """Log in with the password, as the default user, and return what the command said."""
        known = self.directory / "known_hosts"
        known.write_text(f"{self.address} {self.host_key}\n", encoding="ascii")
        ask = self.directory / "askpass"
        ask.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(self.password)}\n", encoding="ascii")
        ask.chmod(0o700)
        options = [f"UserKnownHostsFile={known}", "PreferredAuthentications=password", f"ConnectTimeout={int(seconds)}"]
        done = subprocess.run(
            ["ssh", "-F", "none", *(f"-o{one}" for one in options), f"{self.user}@{self.address}", command],
            env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            raise Refused(f"{command}: {done.stderr.strip()}")
        return done.stdout

    def boots(self) -> int:
        """How often it was booted; 0 while it is off."""
        return self._told().get("number", 0)

    def wait(self, after: int = 0) -> None:
        """Until somebody could log in, in a later boot than that."""
        try:
            until(lambda: self.boots() > after and self._answers(), f"{self.name} up", _BOOT_SECONDS)
        except AssertionError as late:
            keeper = (self.directory / "keeper.log").read_text(encoding="utf-8", errors="replace")
            raise Refused(f"{late}\n{keeper[-2000:]}\n{self.console()[-4000:]}") from late

    def reboot(self) -> None:
        """As an administrator does it, and wait until it is up again."""
        before = self.boots()
        self.exec(["systemctl", "reboot"])
        self.wait(before)

    def lose_power(self) -> None:
        """At once: what was not on its disk is lost. It stays off until ``power_on``."""
        self.cut()
        freeze = self._group / "cgroup.freeze"
        freeze.write_text("1", encoding="ascii")
        disk = os.open(self._disk, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, _SHUTDOWN, struct.pack("I", _AT_ONCE))
        finally:
            os.close(disk)
        self.lan.run(["kill", "-KILL", str(self._told()["first"])])
        until(lambda: not self.boots(), f"{self.name} off")
        freeze.write_text("0", encoding="ascii")
        self.mend()

    def power_on(self) -> None:
        """Boot it, and wait until it is up."""
        before = self.boots()
        self._spin()
        self.lan.start([sys.executable, "-I", str(_KEEPER), str(self.directory)], self.directory / "keeper.log")
        self.wait(before)

    def cut(self) -> None:
        """Nothing comes through its cable any more, and nobody is told."""
        self.lan.run(["nft", "add", "element", "bridge", "lan", "cut", f"{{ {self.name} }}"])

    def mend(self) -> None:
        """Undo ``cut``."""
        self.lan.run(["nft", "delete", "element", "bridge", "lan", "cut", f"{{ {self.name} }}"])

    def online(self, *, to_be: bool) -> None:
        """Whether it gets beyond its own network: to package registries, where this machine does."""
        # Adding what is there is nothing new; deleting what is not is an error.
        element = f"element ip lan online {{ {self.address} }}"
        self.lan.run(["nft", f"add {element}" if to_be else f"add {element}; delete {element}"])

    def fill(self, left: int = 0) -> None:
        """Leave this many bytes of its disk free."""
        told = os.statvfs(self._disk)
        begin, size = 0, told.f_bavail * told.f_frsize
        with (self._disk / "filling").open("wb") as file:
            while size >= told.f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), begin, size)
                    begin += size
                except OSError:
                    # What tells where a file's parts lie takes room, too.
                    size //= 2
            file.truncate(begin - left)

    def clear(self) -> None:
        """Undo ``fill``."""
        (self._disk / "filling").unlink()

    def change_host_key(self) -> None:
        """As if somebody else's machine answered at its address; ``host_key`` stays what it was."""
        self.exec(["sh", "-ec", "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -A; systemctl restart ssh"])

    def end(self) -> None:
        """Take it away with its disk."""
        if told := self._told():
            self.lan.run(["kill", "-KILL", str(told["first"])])
            until(lambda: not self.boots(), f"{self.name} off")
        self._unmount()
        shutil.rmtree(self.directory)
        self.online(to_be=False)
        (self.lan.directory / f"address-{self.address.rpartition('.')[2]}").unlink()
        for folder, _, _ in os.walk(self._group, topdown=False):
            until(partial(_removed, Path(folder)), f"no processes in {folder}")

    def console(self) -> str:
        """What it said on its console."""
        log = self.directory / "console.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    @property
    def controllers(self) -> set[str]:
        """What its limits can limit: none of `memory`, `pids`, `cpu` where the machine's control groups are of version 1."""
        return {*(self._group / "cgroup.controllers").read_text(encoding="ascii").split()}

    @property
    def _group(self) -> Path:
        return self.lan.group / self.name

    @property
    def _disk(self) -> Path:
        """As it is seen from the machine: it is mounted in the network's namespaces only."""
        return Path(f"/proc/{self.lan.first}/root{self.directory}/disk")

    def _told(self) -> dict[str, int]:
        try:
            told: dict[str, int] = json.loads((self.directory / "boot.json").read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        return told

    def _inside(self) -> list[str]:
        told = self._told()
        if not told:
            raise Refused(f"{self.name} is off: {self.console()[-2000:]}")
        return ["nsenter", f"--target={told['first']}", "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i", _PATH]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as connection:
                if not connection.recv(1):
                    return False
            self.exec(["test", "!", "-e", "/run/nologin"])
        except (OSError, Refused):
            return False
        return True

    def _spin(self) -> None:
        """Mount its disk, which replays what its journal holds."""
        disk = self.directory / "disk"
        disk.mkdir(exist_ok=True)
        self._unmount()
        self.lan.run(["mount", "-o", "loop", str(self.directory / "disk.img"), str(disk)])
        self.lan.run(["mkdir", "-p", f"{disk}/upper", f"{disk}/work"])

    def _unmount(self) -> None:
        disk = str(self.directory / "disk")

        def _free() -> bool:
            mounted = self.lan.run(["sh", "-c", f"! mountpoint -q {disk} || umount {disk} 2>/dev/null || echo busy"])
            return not mounted

        until(_free, f"nobody uses {disk}")


def _claim(lan: Lan) -> int:
    """The last number of an address that no other host has."""
    for number in range(_FIRST_ADDRESS, 255):
        with suppress(FileExistsError):
            (lan.directory / f"address-{number}").touch(exist_ok=False)
            return number
    raise Refused("no address is free")


def _removed(group: Path) -> bool:
    """Whether the control group is gone, which it can only be after its processes."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def begin(lan: Lan, name: str, *, disk: int = 8 * GIGABYTE, online: bool = False) -> Host:
    """A fresh host of that name, up. Its disk takes that many bytes, and none before it writes them."""
    directory = lan.directory / name
    directory.mkdir()
    number = _claim(lan)
    key = directory / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    group = lan.group / name
    group.mkdir()
    host = Host(
        name=name,
        address=f"{lan.prefix}{number}",
        port=_PORT,
        user=roots.USER,
        password=secrets.token_urlsafe(12),
        host_key=" ".join(key.with_suffix(".pub").read_text(encoding="ascii").split()[:2]),
        directory=directory,
        lan=lan,
    )
    plan = {
        "name": name,
        "address": host.address,
        "card": f"02:00:5e:00:53:{number:02x}",
        "gateway": lan.gateway,
        "resolver": lan.resolver,
        "group": str(group),
        "lower": str(roots.root()),
        "user": host.user,
        "password": host.password,
        "key": str(key),
    }
    (directory / "plan.json").write_text(json.dumps(plan), encoding="ascii")
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(disk)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    if online:
        host.online(to_be=True)
    host.power_on()
    return host
