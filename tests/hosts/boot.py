"""What firmware and boot loader are for a machine: puts a host's file systems together and becomes its systemd.

Started by ``keeper`` as the first process of new namespaces; uses the standard library only. Nothing of the machine is left in
sight but its kernel, whose settings are kept from the host's hands.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_CGROUP = 0x02000000
_READ_ONLY, _NO_SUID, _NO_DEV, _NO_EXEC, _BIND, _RECURSIVE, _SHARED = 1, 2, 4, 8, 4096, 16384, 1 << 20
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_INIT = "/lib/systemd/systemd"
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_TUNNEL = (10, 200)
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
# Settings of the kernel that belong to a network or a name are the host's own; of the others it has copies.
_COPIED = ("kernel", "vm", "fs", "dev", "debug", "abi")
_REAL = ("kernel/random", "kernel/hostname", "kernel/domainname", "kernel/ns_last_pid", "kernel/cap_last_cap")
# What it would register is registered for the whole machine.
_MASKED = ("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount")
_DANGEROUS = ("sysrq-trigger", "kcore", "kmsg")


def boot(directory: Path, waiting: int) -> NoReturn:
    """Never returns: this process is systemd afterwards."""
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    Path(plan["group"], "cgroup.procs").write_text("0", encoding="ascii")
    _check(_LIBC.unshare(_NEW_CGROUP), "a cgroup namespace")
    os.read(waiting, 1)
    os.close(waiting)
    _network(plan)
    root = directory / "root"
    root.mkdir(exist_ok=True)
    disk = directory / "disk"
    layers = f"lowerdir={plan['lower']},upperdir={disk}/upper,workdir={disk}/work"
    _mount("overlay", root, "overlay", 0, layers)
    terminal = os.ttyname(0)
    _kernel(root)
    _devices(root, terminal)
    if not (disk / "begun").exists():
        _personalise(root, plan)
        (disk / "begun").touch()
        # What an image holds does not get lost with the power.
        held = os.open(disk, os.O_RDONLY)
        _check(_LIBC.syncfs(held), "image on the disk")
        os.close(held)
    socket.sethostname(plan["name"])
    _enter(root)
    environment = {
        "container": "other",
        "TERM": "dumb",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    os.execve(_INIT, [_INIT], environment)  # noqa: S606  # that is what booting is


def _network(plan: dict[str, str]) -> None:
    for command in (
        "link set lo up",
        f"address add {plan['address']}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {plan['gateway']}",
    ):
        subprocess.run(["ip", *command.split()], check=True)


def _kernel(root: Path) -> None:
    """Its views of the kernel: processes, devices' tree, control groups, settings."""
    _mount("proc", root / "proc", "proc", _NO_SUID | _NO_DEV | _NO_EXEC)
    _mount("sysfs", root / "sys", "sysfs", _NO_SUID | _NO_DEV | _NO_EXEC | _READ_ONLY)
    _mount("cgroup2", root / "sys/fs/cgroup", "cgroup2", _NO_SUID | _NO_DEV | _NO_EXEC, "nsdelegate")
    _mount("tmpfs", root / "run", "tmpfs", _NO_SUID | _NO_DEV, "mode=0755,size=20%")
    settings = root / "run/settings"
    settings.mkdir()
    _mount("tmpfs", settings, "tmpfs", _NO_SUID | _NO_DEV | _NO_EXEC, "mode=0755,size=4m")
    for name in _COPIED:
        source = root / "proc/sys" / name
        if source.is_dir():
            _copy_settings(source, settings / name)
            for real in (one for one in _REAL if one.startswith(f"{name}/") and (root / "proc/sys" / one).exists()):
                _bind(root / "proc/sys" / real, settings / real)
            _bind(settings / name, source, _RECURSIVE)
    identity = settings / "boot_id"
    identity.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
    _bind(identity, root / "proc/sys/kernel/random/boot_id")
    for name in _DANGEROUS:
        # Not every kernel is built with all of them.
        if (root / "proc" / name).exists():
            _bind(Path("/dev/null"), root / "proc" / name)
    _check(_LIBC.umount2(os.fsencode(settings), _DETACH), "an end")
    settings.rmdir()


def _copy_settings(source: Path, target: Path) -> None:
    target.mkdir()
    for one in source.iterdir():
        if one.is_dir():
            _copy_settings(one, target / one.name)
            continue
        try:
            told = one.read_bytes()
        except OSError:
            told = b""
        (target / one.name).write_bytes(told)
        (target / one.name).chmod(stat.S_IMODE(one.stat().st_mode))


def _devices(root: Path, terminal: str) -> None:
    dev = root / "dev"
    _mount("tmpfs", dev, "tmpfs", _NO_SUID, "mode=0755,size=1m")
    os.umask(0)
    for name, numbers in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
    (dev / "net").mkdir()
    os.mknod(dev / "net/tun", stat.S_IFCHR | 0o666, os.makedev(*_TUNNEL))
    for name, target in {**_LINKS, "ptmx": "pts/ptmx"}.items():
        (dev / name).symlink_to(target)
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", ""),
    ):
        (dev / name).mkdir()
        _mount(kind, dev / name, kind, _NO_SUID | _NO_EXEC, options)
    os.umask(0o022)
    (dev / "console").touch()
    _bind(Path(terminal), dev / "console")


def _personalise(root: Path, plan: dict[str, str]) -> None:
    """What a provider's first boot makes of an image: name, keys, the default user's password."""
    name = plan["name"]
    (root / "etc/hostname").write_text(f"{name}\n", encoding="ascii")
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n"
    (root / "etc/hosts").write_text(hosts, encoding="ascii")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(f"nameserver {plan['resolver']}\n", encoding="ascii")
    (root / "etc/machine-id").write_text("", encoding="ascii")
    key = root / "etc/ssh/ssh_host_ed25519_key"
    for ending in ("", ".pub"):
        shutil.copyfile(f"{plan['key']}{ending}", f"{key}{ending}")
    key.chmod(0o600)
    for unit in _MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    account = f"{plan['user']}:{plan['password']}\n"
    subprocess.run(["chroot", str(root), "chpasswd"], input=account, text=True, check=True)


def _enter(root: Path) -> None:
    os.chdir(root)
    _check(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "a root")
    _check(_LIBC.umount2(b".", _DETACH), "an end of the machine's root")
    os.chdir("/")
    # As on a real machine, what one process mounts the others see: units get their credentials so.
    _check(_LIBC.mount(None, b"/", None, _SHARED | _RECURSIVE, None), "shared mounts")


def _mount(what: str, where: Path, kind: str, flags: int, options: str = "") -> None:
    _check(_LIBC.mount(what.encode(), os.fsencode(where), kind.encode(), flags, options.encode()), f"{kind} at {where}")


def _bind(what: Path, where: Path, more: int = 0) -> None:
    _check(_LIBC.mount(os.fsencode(what), os.fsencode(where), None, _BIND | more, None), f"{what} at {where}")


def _check(code: int, what: str) -> None:
    if code:
        sys.exit(f"no {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    boot(Path(sys.argv[1]), int(sys.argv[2]))
