"""Brings files from this machine to a host, beside Ansible: wheels and models, hundreds of megabytes, which go on where they broke off.

They lie there under their sha256 until a role takes them. Called by the driver before a step that needs them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from paictl.assets import asset
from paictl.drivers.ansible.shell import Shell
from paictl.drivers.ansible.wheels import bundle, interpreter_of
from paictl.engine.model import Resource
from paictl.errors import PaictlError, Unreachable
from paictl.events import Emit, Event

__all__ = ["BROUGHT", "Supply", "before", "bring_models", "bring_wheels", "foretold", "push"]

BROUGHT = "/var/lib/paictl/.brought"
"""Where on a host they lie: root's alone."""

_CHUNK = 1 << 20
_PAUSE_SECONDS = 0.5
_ATTEMPTS = 3
# A slow card reads five megabytes a second, and the hash of what is there is taken before anything is said.
_LOOK_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Supply:
    """Who is offline: the host ``there``, so that everything is brought; ``here``, so that nothing can be fetched for it either."""

    there: bool
    here: bool


def before(shell: Shell, resource: Resource, supply: Supply, emit: Emit) -> Mapping[str, object]:
    """Bring what making a resource needs and its host can't fetch, or is not to; the variables of its role that follow from that."""
    spec: Mapping[str, Any] = resource.spec
    address = str(resource.address)
    if resource.address.kind == "weights":
        folder = f"/var/lib/paictl/{spec['agent']}"
        bring_models(shell, folder, spec["files"], supply, emit, address)
    if resource.address.kind == "runtime" and supply.there and not _installed(shell, spec["vars"]["runtime_build"]):
        return {"runtime_wheels": bring_wheels(shell, emit, offline=supply.here, address=address)}
    return {} if resource.address.kind == "runtime" else foretold(resource, supply)


def foretold(resource: Resource, supply: Supply) -> Mapping[str, object]:
    """The variables that follow from what would be brought; where exactly it will lie is not known."""
    if resource.address.kind == "base" and supply.there:
        # A mirror that can't be reached is waited for many times over.
        return {"base_offline": True}
    if resource.address.kind == "runtime" and supply.there:
        return {"runtime_wheels": BROUGHT}
    return {}


def bring_wheels(shell: Shell, emit: Emit, *, offline: bool, address: str) -> str:
    """The runtime's packages for that host's Python; where they lie there: the role's ``runtime_wheels``."""
    archive, sha256 = bundle(interpreter_of(shell), emit, offline=offline, address=address)
    place = f"{BROUGHT}/{sha256}"
    push(shell, archive, sha256, emit, address)
    return place


def bring_models(
    shell: Shell, folder: str, files: Iterable[Mapping[str, Any]], supply: Supply, emit: Emit, address: str
) -> None:
    """The files of one model that the host can't fetch, or is not to; ``folder``: what their paths are relative to, there.

    ``files`` are as fetch.py lists them, each with its ``source``. What is in its place already stays.
    """
    from paictl.weights import fetch, sources

    for file in files:
        if supply.there or not (file["url"] or file["package"]):
            source, sha256 = sources.parse(str(file["source"])), str(file["sha256"])
            if _look(shell, sha256, int(file["size"]), f"{folder}/{file['path']}") is not None:
                here = fetch.obtain(source, sha256, emit=emit, offline=supply.here, address=address)
                push(shell, here, sha256, emit, address)


def push(shell: Shell, source: Path, sha256: str, emit: Emit, address: str) -> None:
    """Bring one file; when the connection breaks off in the middle, what came stays and the rest follows."""
    size = source.stat().st_size
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            done = _look(shell, sha256, size)
            if done is not None:
                _send(shell, source, sha256, done, emit, address)
        except Unreachable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _installed(shell: Shell, build: str) -> bool:
    """Whether a build is there, whole, as the role would find it."""
    program = asset("roles", "runtime", "files", "whole.py").read_text(encoding="utf-8")
    return shell.run(["python3", "-c", program, f"/opt/paictl/runtime/{build}"], timeout=_LOOK_SECONDS).code == 0


def _look(shell: Shell, sha256: str, size: int, *elsewhere: str) -> int | None:
    """How many bytes of it are there; None for all of them."""
    found = shell.run(_command(sha256, size, "look", *elsewhere), timeout=_LOOK_SECONDS)
    if found.code:
        raise _not_brought(shell, found.stderr, found.code)
    said = found.stdout.decode("ascii").strip()
    return None if said == "whole" else int(said)


def _send(shell: Shell, source: Path, sha256: str, done: int, emit: Emit, address: str) -> None:
    size = source.stat().st_size
    with shell.start(_command(sha256, size, "take")) as process, source.open("rb") as file:
        try:
            file.seek(done)
            while piece := file.read(_CHUNK):
                _write(process, piece)
                done += len(piece)
                emit(Event("progress", address, {"what": "bringing", "done": done, "total": size}))
            said, complaint = process.communicate()
        except BrokenPipeError:
            said, complaint = process.communicate()
        except BaseException:
            process.kill()
            raise
    if said.strip() == b"whole":
        return
    if b"broke off" in complaint or process.returncode not in range(1, 128):
        raise Unreachable(f"{shell.name} went away while a file was brought", help="Apply again: what is there stays.")
    raise _not_brought(shell, complaint, process.returncode)


def _write(process: subprocess.Popen[bytes], piece: bytes) -> None:
    if process.stdin is not None:
        # Unbuffered: a pipe takes what has room in it.
        view = memoryview(piece)
        while view:
            view = view[process.stdin.write(view) :]


def _command(sha256: str, size: int, verb: str, *elsewhere: str) -> list[str]:
    return ["python3", "-I", "-c", _arriving(), f"{BROUGHT}/{sha256}", sha256, str(size), verb, *elsewhere]


@cache
def _arriving() -> str:
    return (Path(__file__).parent / "onhost" / "arriving.py").read_text(encoding="utf-8")


def _not_brought(shell: Shell, complaint: bytes, code: int) -> PaictlError:
    said = complaint.decode("utf-8", "replace").strip().splitlines()
    return PaictlError(
        f"a file could not be brought to {shell.name}: {said[-1] if said else f'exit status {code}'}",
        help="Run the same command again: what is there stays.",
    )
