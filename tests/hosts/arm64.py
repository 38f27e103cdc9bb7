"""A Debian for arm64 to run the agent's programs in, on a machine of another kind: unpacked, never configured, emulated by qemu.

Used by ``test_arm64``. The kernel is told to run arm64's programs by Debian's qemu for as long as ``running`` lasts; the service
manager can't run so (docs/decisions/hosts-in-tests.md), whatever it would start can.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docker import debian
from tests.hosts import roots

__all__ = ["Pi", "running"]

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_NAME = "paictl-test-aarch64"
# A newer one than the system's release has: it knows more of what programs ask of a kernel.
_QEMU = ("qemu-user", "trixie", "usr/bin/qemu-aarch64")
_PACKAGES = "python3,ca-certificates,dash,libc-bin,libgomp1,libstdc++6"
# The head of a 64-bit little-endian ELF file for the machine 183, a program or a shared object.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# qemu is opened now, by the kernel: a system that it is to run needs no copy of it.
_FLAGS = "POCF"
_KNOWN = "/proc/sys/fs/binfmt_misc"
_LEARN = f"""
mountpoint -q {_KNOWN} || mount -t binfmt_misc none {_KNOWN}
[ ! -e {_KNOWN}/{_NAME} ] || echo -1 >{_KNOWN}/{_NAME}
printf %s "$1" >{_KNOWN}/register
echo known
read end || :
echo -1 >{_KNOWN}/{_NAME}
"""


@dataclass(frozen=True)
class Pi:
    """A root file system for arm64, and how its programs are run."""

    root: Path

    def begin(self, argv: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program in it; what it writes goes to the file. It ends with whoever started it, killed or not."""
        steps = ['mkdir -p "$1/proc" "$1/dev" "$1/tmp"', 'mount --bind /dev "$1/dev"']
        steps += ['mount -t proc proc "$1/proc"', 'mount -t tmpfs tmp "$1/tmp"', 'exec chroot "$@"']
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["sh", "-ec", "; ".join(steps), "sh", str(self.root), *argv]
        with log.open("wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, env={"PATH": _PATH, **environment})

    def install(self, requirements: Path, python: str) -> str:
        """Unpack the wheels for arm64 that the list names by their hashes; returns the folder, as its programs see it."""
        folder = self.root / "opt/wheels"
        glibc = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        command += [*glibc, "--platform=manylinux2014_aarch64", "--implementation=cp", "--python-version=3.11"]
        command += [f"--target={folder}", f"--requirement={requirements}", "--no-compile", "--root-user-action=ignore"]
        subprocess.run(command, check=True)
        return "/opt/wheels"


@contextmanager
def running(folder: Path) -> Iterator[Pi]:
    """A fresh one in that folder, which has to be empty."""
    archive = _archive()
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], check=True)
    with _emulated():
        yield Pi(folder)


def _archive() -> Path:
    """As Debian's packages have it: unpacking runs none of their programs, and so takes seconds."""
    archive = roots.home() / "roots" / f"{debian.RELEASE}-arm64-{'-'.join(_PACKAGES.split(','))}.tar"
    with debian.alone("hosts-roots"):
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            part = archive.with_name("part-arm64.tar")
            command = ["mmdebstrap", "--quiet", "--variant=extract", "--skip=check/qemu", "--architectures=arm64"]
            debian.run_quietly([*command, f"--include={_PACKAGES}", debian.RELEASE, str(part)])
            shutil.move(part, archive)
    return archive


@contextmanager
def _emulated() -> Iterator[None]:
    """The kernel knows qemu meanwhile; some forget it with the last mount of the file system that tells them."""
    line = f":{_NAME}:M::{_MAGIC}:{_MASK}:{debian.program(*_QEMU)}:{_FLAGS}"
    command = ["unshare", "--mount", "sh", "-ec", _LEARN, "sh", line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        assert held.stdin is not None
        assert held.stdout.readline() == "known\n", "this kernel has no binfmt_misc, or somebody else's"
        try:
            yield
        finally:
            held.stdin.close()
            held.wait(timeout=10)
