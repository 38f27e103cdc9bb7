"""The runtime's wheels for the Python of a host, with pip's own, as one file. Used by ``uploads`` for hosts without a network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from paictl import places
from paictl.blueprint.runtime import requirements
from paictl.blueprint.wheels import Interpreter, wheels
from paictl.disk import replace_file
from paictl.drivers.ansible.shell import Shell
from paictl.errors import Refused
from paictl.events import Emit

__all__ = ["bundle", "interpreter_of", "pip_wheel"]

_OLDEST_PYTHON = (3, 11)
_ASK = """
import json, platform, sys
libc, version = platform.libc_ver()
print(json.dumps([platform.python_version(), platform.machine(), libc, version]))
"""
# A wheel is the same file whenever it is made: the earliest time that a zip file can tell.
_TIME = (1980, 1, 1, 0, 0, 0)


def interpreter_of(shell: Shell) -> Interpreter:
    """The host's Python, as wheels are chosen for it; raises ``Refused`` for one that the runtime can't use."""
    told = shell.run(["python3", "-I", "-c", _ASK])
    if told.code:
        raise Refused(f"{shell.name} has no python3", help="Install it there: apt install python3.")
    python, machine, libc, version = json.loads(told.stdout)
    if tuple(map(int, python.split(".")[:2])) < _OLDEST_PYTHON or libc != "glibc":
        raise Refused(
            f"{shell.name} has Python {python} with {libc or 'an unknown C library'}, and the runtime needs 3.11 or newer with glibc",
            help="Debian 12 and Raspberry Pi OS of 2023 have them.",
        )
    return Interpreter(python, machine, int(version.split(".")[1]))


def bundle(interpreter: Interpreter, emit: Emit, *, offline: bool, address: str = "") -> tuple[Path, str]:
    """A tar file of wheels in the cache, and its sha256. Downloads what is not here; raises ``PaictlError`` where it can't."""
    found = wheels(requirements(), interpreter, emit, offline=offline, address=address)
    own = pip_wheel()
    told = [[path.name, path.stat().st_size] for path in (*found, own)]
    key = hashlib.sha256(json.dumps([*told, str(found[0].parent)]).encode()).hexdigest()[:16]
    archive = places.cache_home() / "wheels" / f"{key}.tar"
    noted = archive.with_suffix(".sha256")
    if not (archive.exists() and noted.exists()):
        temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
        _packed([*found, own], temporary)
        digest = _digest(temporary)
        temporary.replace(archive)
        replace_file(noted, digest.encode("ascii"))
    return archive, noted.read_text(encoding="ascii")


def pip_wheel() -> Path:
    """The pip that paictl itself is installed with, as the wheel that it came from."""
    pip = metadata.distribution("pip")
    path = places.cache_home() / "wheels" / f"pip-{pip.version}-py3-none-any.whl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as wheel:
            for name, file in _members(pip):
                wheel.writestr(zipfile.ZipInfo(name, _TIME), file.read_bytes(), zipfile.ZIP_DEFLATED)
        replace_file(path, content.getvalue())
    return path


def _members(pip: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """What a wheel of it holds: neither what installing made of it, nor who installed it."""
    made = {"INSTALLER", "REQUESTED", "direct_url.json"}
    for file in sorted(pip.files or (), key=str):
        if ".." not in file.parts and file.suffix != ".pyc" and file.name not in made:
            yield file.as_posix(), Path(str(file.locate()))


def _packed(files: list[Path], path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for file in files:
            info = tarfile.TarInfo(file.name)
            info.size, info.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                archive.addfile(info, content)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
