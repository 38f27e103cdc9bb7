"""The runtime's wheels for the Python of another machine, downloaded here and kept in the cache. Called by drivers that install it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paictl import places
from paictl.errors import PaictlError, Refused
from paictl.events import Emit, Event

__all__ = ["Interpreter", "wanted", "wheels"]

_DOWNLOAD_SECONDS = 1800
_OLDEST_GLIBC = 17  # manylinux2014; nothing that is locked is built for older ones alone


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python as wheels are chosen for it: CPython's full version, the machine in its words, and the minor of its glibc 2."""

    python: str
    machine: str
    glibc: int

    @property
    def series(self) -> str:
        """``3.11``."""
        return ".".join(self.python.split(".")[:2])

    @property
    def tag(self) -> str:
        """``cp311``."""
        return f"cp{self.series.replace('.', '')}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """Every platform tag whose wheels it runs, newest first (PEP 600: what was built for an older glibc runs)."""
        minors = range(self.glibc, _OLDEST_GLIBC - 1, -1)
        return (*(f"manylinux_2_{minor}_{self.machine}" for minor in minors), f"manylinux2014_{self.machine}")

    def markers(self) -> dict[str, str]:
        """Its environment in the words of PEP 508."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.series,
            "sys_platform": "linux",
        }


def wheels(locked: Path, interpreter: Interpreter, emit: Emit, *, offline: bool, address: str = "") -> tuple[Path, ...]:
    """The files of everything that ``locked`` names, each with a hash it allows; downloaded when they are not in the cache.

    pip here downloads them, so that the person's mirror, proxy and certificates count. Raises ``PaictlError``.
    """
    key = hashlib.sha256(locked.read_bytes()).hexdigest()[:16]
    folder = places.cache_home() / "wheels" / f"{key}-{interpreter.tag}-{interpreter.machine}-2.{interpreter.glibc}"
    with _alone(folder):
        if not folder.is_dir():
            if offline:
                raise Refused(
                    f"the runtime's packages for Python {interpreter.series} on {interpreter.machine} are not on this machine",
                    help="Apply once without --offline; what is fetched then is kept.",
                )
            emit(Event("progress", address, {"what": "download the runtime's packages", "done": 0, "total": 0}))
            _download(locked, interpreter, folder)
    return tuple(sorted(folder.glob("*.whl")))


def wanted(locked: str, interpreter: Interpreter) -> str:
    """The lines of a locked list that hold for an interpreter, without their conditions: pip judges those by its own Python."""
    from packaging.requirements import Requirement

    found = []
    for line in locked.replace("\\\n", " ").splitlines():
        text, *hashes = line.partition("#")[0].split("--hash=")
        if text.strip():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(interpreter.markers()):
                found.append(" --hash=".join([f"{requirement.name}{requirement.specifier}", *map(str.strip, hashes)]))
    return "".join(f"{line}\n" for line in found)


def _download(locked: Path, interpreter: Interpreter, folder: Path) -> None:
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        listed = temporary / "requirements.txt"
        listed.write_text(wanted(locked.read_text(encoding="utf-8"), interpreter), encoding="utf-8")
        _pip(listed, interpreter, temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _pip(listed: Path, interpreter: Interpreter, target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-input", "--no-deps"]
    chosen = ["--python-version", interpreter.series, "--implementation", "cp"]
    chosen += [word for abi in (interpreter.tag, "abi3", "none") for word in ("--abi", abi)]
    chosen += [word for platform in interpreter.platforms for word in ("--platform", platform)]
    locked = ["--only-binary", ":all:", "--require-hashes", "--requirement", str(listed), "--dest", str(target)]
    done = subprocess.run(
        [*pip, *chosen, *locked],
        capture_output=True,
        text=True,
        check=False,
        timeout=_DOWNLOAD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["no reason given"]
        raise PaictlError(
            f"can't download the runtime's packages for Python {interpreter.series} on {interpreter.machine}: "
            f"{lines[-1].removeprefix('ERROR: ')}",
            help="This needs the package index once; connect, or set up a mirror (pip's index-url or find-links), and apply again.",
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
