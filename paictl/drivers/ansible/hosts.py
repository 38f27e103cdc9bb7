"""The hosts of one target: how each is logged in to, by Ansible and by plain ssh alike. Opens no connection itself."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from paictl import places
from paictl.disk import existing, replace_file
from paictl.errors import Refused

__all__ = ["Hosts", "Login", "Passwords", "nobody", "private"]

_CONNECT_SECONDS = 10
# A host that went silent is noticed after three of these.
_ALIVE_SECONDS = 5
# The next plays and streams of this run, and of one soon after it, find the connection open.
_PERSIST_SECONDS = 60
# ssh wants the path of a socket to be shorter than 108 bytes, and puts 17 of its own behind it while it makes one.
_LONGEST_SOCKET = 108 - 1 - 17
_SHA2_OF_RSA = "rsa-sha2-512,rsa-sha2-256"

Passwords = Callable[[str, Literal["login", "become", "asked"]], "str | None"]
"""A host's name and what the password is for -> the password, or None where none is needed or known."""


def nobody(_host: str, _use: Literal["login", "become", "asked"]) -> str | None:
    """No host has a password that we know."""
    return None


@dataclass(frozen=True, slots=True)
class Login:
    """One host. ``host_key`` is kind and key as in known_hosts, pinned: ``ssh-ed25519 AAAA…``; empty while nobody has.

    ``user`` is empty for what ssh itself thinks right. ``local``: it is this machine, and no ssh is needed. ``offline``: it
    reaches no mirror and no package index.
    """

    name: str
    address: str = ""
    user: str = ""
    port: int = 22
    host_key: str = ""
    local: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Hosts:
    """The logins of one target by name. ``state`` is where keys of paictl's own are kept; it need not exist."""

    logins: Mapping[str, Login]
    passwords: Passwords = field(repr=False)
    state: Path

    def own_key(self, name: str) -> Path:
        """Where the key that ``bootstrap`` made for this host is, if it made one."""
        return self.state / f"{name}.ed25519"

    def ssh_options(self, name: str) -> list[str]:
        """The same for every ssh to that host, so that all of them share one connection. None for this machine itself."""
        login = self.logins[name]
        if login.local:
            return []
        folder = private("ssh")
        said = [
            *_of_the_key(login, folder),
            f"ConnectTimeout={_CONNECT_SECONDS}",
            f"ServerAliveInterval={_ALIVE_SECONDS}",
            "ServerAliveCountMax=3",
            "ControlMaster=auto",
            f"ControlPersist={_PERSIST_SECONDS}",
            f"ControlPath={self._socket(login, folder)}",
            "ForwardAgent=no",
            "ForwardX11=no",
            # Whatever the person's own configuration does when they log in by hand.
            "PermitLocalCommand=no",
            "RemoteCommand=none",
        ]
        if self.own_key(name).is_file():
            said += ["IdentitiesOnly=yes", f'IdentityFile="{self.own_key(name)}"']
        if self.passwords(name, "login") is None:
            said += ["BatchMode=yes", "PreferredAuthentications=publickey"]
        return [f"-o{one}" for one in said]

    def ssh(self, name: str) -> list[str]:
        """``ssh`` with its options and the host; the words of a remote command follow."""
        login = self.logins[name]
        user = [f"-l{login.user}"] if login.user else []
        return ["ssh", *self.ssh_options(name), f"-p{login.port}", *user, "--", login.address]

    def close(self) -> None:
        """End the connections that are kept open for whoever comes next."""
        for name in self.logins:
            self._tell(name, "exit")

    def renew(self, name: str) -> None:
        """Have whoever comes next log in, also where a connection stands; who uses that one goes on with it."""
        self._tell(name, "stop")

    def _tell(self, name: str, word: str) -> None:
        login = self.logins[name]
        if not login.local and self._socket(login, private("ssh")).is_socket():
            argv = self.ssh(name)
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [argv[0], f"-O{word}", *argv[1:]], capture_output=True, check=False, timeout=_CONNECT_SECONDS
                )

    def _socket(self, login: Login, folder: Path) -> Path:
        """Where a shared connection is found: another one for another pin, user, way of logging in or target."""
        told = (login, str(self.state), self.passwords(login.name, "login") is None)
        return folder / _digest(repr(told))


def _of_the_key(login: Login, folder: Path) -> list[str]:
    """What makes ssh refuse every key but the one that is pinned, and never learn another."""
    line = f"{login.name} {login.host_key}\n" if login.host_key else ""
    known = folder / f"known-{_digest(line)}"
    if not known.is_file():
        replace_file(known, line.encode("ascii"))
    kind = login.host_key.partition(" ")[0]
    asked = _SHA2_OF_RSA if kind == "ssh-rsa" else kind
    return [
        "StrictHostKeyChecking=yes",
        f"HostKeyAlias={login.name}",
        f"UserKnownHostsFile={known}",
        "GlobalKnownHostsFile=/dev/null",
        "CheckHostIP=no",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        *([f"HostKeyAlgorithms={asked}"] if asked else []),
    ]


def private(*parts: str) -> Path:
    """A directory of this user's alone, made where it is missing: in memory, unless nothing here is.

    Raises ``Refused`` when it is somebody else's.
    """
    choices = [places.runtime_home(), places.shared_memory()]
    fitting = [base for base in choices if _fits(base.joinpath(*parts))]
    base = next(filter(_in_memory, fitting), next(filter(_in_memory, choices), choices[0]))
    for folder in (base, *(base.joinpath(*parts[: end + 1]) for end in range(len(parts)))):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=folder == base)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise Refused(
                f"{folder} is not this user's own directory",
                help="Secrets on their way to a host would lie there. Move it away.",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    return base.joinpath(*parts)


def _in_memory(path: Path) -> bool:
    """Whether what is written there is never written to a disk."""
    place = existing(path).resolve()
    kinds = {}
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mounted, kind, *_ = line.split(" ")
        kinds[mounted] = kind
    return next((kinds[str(one)] for one in (place, *place.parents) if str(one) in kinds), "") in {"tmpfs", "ramfs"}


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) + 1 + len(_digest("")) <= _LONGEST_SOCKET


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
