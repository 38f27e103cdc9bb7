"""The kind ``venv``: the runtime with its locked dependencies, built once a digest on this machine and cloned for each agent."""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import platform
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from paictl import places
from paictl.blueprint.runtime import requirements, runtime_code, runtime_pin
from paictl.drivers.native.disk import clone, read_json, remove_tree, write_json
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.records import Record
from paictl.errors import PaictlError, Refused
from paictl.events import Emit, Event

__all__ = ["Venvs", "add_code", "available", "build", "buildable", "cached", "make_environment"]

_MARKER = "paictl.json"
_INSTALL_SECONDS = 1800


class Venvs:
    """One clone below the agent's ``venv/``, named by digest: a new one stands beside the old until its users have moved."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        digest = str(record.spec["digest"])
        path = here.layout.venv(digest)
        return Seen(record.spec) if _whole(path, digest) else None

    def make(self, act: Act) -> Mapping[str, object] | None:
        digest = act.text("digest")
        path = act.layout.venv(digest)
        if not _whole(path, digest):
            clone(build(digest, act.emit, str(act.step.address)), path)
        return None

    def remove(self, act: Act) -> None:
        remove_tree(act.layout.venv(act.text("digest")))


def cached(digest: str) -> Path:
    """Where this machine keeps the original; another Python needs another one."""
    return places.cache_home() / "venv" / f"{digest[:16]}-{sys.implementation.cache_tag}-{platform.machine()}"


def available(digest: str) -> bool:
    """Whether it is here, or can be built from what this paictl carries."""
    return _whole(cached(digest), digest) or digest == runtime_pin().digest


def buildable(digest: str) -> bool:
    """Whether it is here, or can be built from packages that are."""
    packages = hashlib.sha256(requirements().read_bytes()).hexdigest()
    return _whole(cached(digest), digest) or (digest == runtime_pin().digest and _whole(cached(packages), packages))


def build(digest: str, emit: Emit, address: str) -> Path:
    """The original in the cache; built under a temporary name when it isn't there, by one paictl at a time."""
    path = cached(digest)
    with _alone(path):
        if _whole(path, digest):
            return path
        if not available(digest):
            raise Refused(
                f"the lock pins the runtime {digest[:12]}, which this paictl does not carry and this machine does not have",
                help="Run `paictl lock` to take the runtime of this paictl, and apply again.",
            )
        packages = _packages(emit, address)
        with _appearing(path) as temporary:
            clone(packages, temporary)
            add_code(temporary, digest)
    return path


def _packages(emit: Emit, address: str) -> Path:
    """The dependencies without our code: a new release of paictl mostly needs the same, and then fetches nothing."""
    digest = hashlib.sha256(requirements().read_bytes()).hexdigest()
    path = cached(digest)
    with _alone(path):
        if not _whole(path, digest):
            emit(Event("progress", address, {"what": "install the runtime's packages", "done": 0, "total": 0}))
            with _appearing(path) as temporary:
                make_environment(temporary, requirements())
                write_json(temporary / _MARKER, {"format": 1, "digest": digest})
    return path


def make_environment(path: Path, locked: Path) -> None:
    """An environment without pip of its own, filled by ours, so that the person's mirror, proxy and cache settings count."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(path)], "can't make a Python environment")
    pip = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"), "--disable-pip-version-check"]
    _run(
        [*pip, "install", "--quiet", "--no-input", "--no-compile", "--no-deps", "--require-hashes", "-r", str(locked)],
        "can't install the runtime's packages",
    )
    base = Path(os.path.realpath(sys.base_prefix))
    home = "/usr/bin" if base == Path("/usr") else "/python/bin"
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n"
    (path / "room.cfg").write_text(settings, encoding="utf-8")
    _compile(_site(path))


def add_code(path: Path, digest: str) -> None:
    """Our own code, and last the marker that says that all of it is there."""
    package = _site(path) / "paictl"
    for name, source in runtime_code().items():
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    _compile(package)
    write_json(path / _MARKER, {"format": 1, "digest": digest, "python": platform.python_version()})


def _compile(folder: Path) -> None:
    # By hash and unchecked: a clone may have other times, and nobody edits it.
    compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A temporary place beside ``path`` that takes its name when the block has filled it, and is gone when it hasn't."""
    remove_tree(path)
    # Only what belongs to this name: its lock is held, others may be building theirs.
    for left in path.parent.glob(f".{path.name}.*"):
        remove_tree(left)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.rename(path)
    finally:
        remove_tree(temporary)


def _whole(path: Path, digest: str) -> bool:
    marker = read_json(path / _MARKER)
    return marker is not None and marker.get("digest") == digest and os.access(path / "bin" / "python", os.X_OK)


def _site(path: Path) -> Path:
    return path / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS, stdin=subprocess.DEVNULL
    )
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING: Retrying")]
    offline = any(
        word in done.stderr for word in ("NewConnectionError", "Temporary failure in name", "No matching distribution")
    )
    raise PaictlError(
        f"{failure}: {(lines or ['no reason given'])[-1].removeprefix('ERROR: ')}",
        help="This needs the package index once; connect, or set up a mirror (pip's index-url or find-links), and apply again."
        if offline
        else "Run the same command again; `paictl doctor` looks for the cause.",
    )
