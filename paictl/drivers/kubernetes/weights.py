"""Model files that no pod can fetch are brought from this machine, through a pod that is there for as long as that takes.

The cluster fetches what it can by a Job of its own; the same Job then only finds that everything is there. Used by the driver.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paictl.drivers.kubernetes.carried import LOOK, TAKE
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.execution import run
from paictl.drivers.kubernetes.resources import SOURCES
from paictl.drivers.kubernetes.temporary import standing
from paictl.engine.driver import RoomResult
from paictl.errors import PaictlError, Unreachable
from paictl.events import Emit, Event
from paictl.render.containers import ROOT

__all__ = ["bring", "has_to_be_brought"]

_CHECK = "--check"
_CHUNK = 1 << 20
_PAUSE_SECONDS = 0.3
_LIFE_SECONDS = 6 * 3600
_ATTEMPTS = 3
_PYTHON = "/opt/paictl/venv/bin/python"
_CONTAINER = "carrier"


def has_to_be_brought(document: Json, *, offline: bool) -> bool:
    """Whether it is a Job that fetches what the cluster is not to fetch, or can't."""
    if SOURCES not in document["metadata"].get("annotations", {}):
        return False
    (container,) = document["spec"]["template"]["spec"]["containers"]
    return offline or _CHECK in container["args"]


def bring(connection: Connection, document: Json, emit: Emit, address: str, *, offline: bool) -> None:
    """Put the files of a fetching Job where it looks for them; what is there with the right hash stays."""
    files = json.loads(document["metadata"]["annotations"][SOURCES])
    with standing(connection, _carrier(document), "brings the model files") as pod:
        for file in files:
            _put(connection, pod, file, emit, address, offline=offline)


def _put(
    connection: Connection, pod: Json, file: Mapping[str, Any], emit: Emit, address: str, *, offline: bool
) -> None:
    """Bring one file; when the connection breaks off in the middle, what came stays and the rest follows."""
    cached: Path | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            done = _look(connection, pod, file)
            if done is None:
                return
            cached = cached or _obtained(file, emit, address, offline=offline)
            _take(connection, pod, file, _rest(cached, done, int(file["size"]), emit, address))
        except Unreachable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)


def _obtained(file: Mapping[str, Any], emit: Emit, address: str, *, offline: bool) -> Path:
    from paictl.weights import fetch, sources

    return fetch.obtain(sources.parse(file["source"]), file["sha256"], emit=emit, offline=offline, address=address)


def _look(connection: Connection, pod: Json, file: Mapping[str, Any]) -> int | None:
    """How many bytes of it are there; None for all of them."""
    found = run(connection, pod, _CONTAINER, _command(LOOK, file), timeout=_LIFE_SECONDS)
    if found.code != 0:
        raise _not_brought(file, found)
    said = found.stdout.decode("ascii").strip()
    return None if said == "whole" else int(said)


def _take(connection: Connection, pod: Json, file: Mapping[str, Any], pieces: Iterator[bytes]) -> None:
    taken = run(connection, pod, _CONTAINER, _command(TAKE, file), pieces, timeout=_LIFE_SECONDS)
    if taken.code != 0:
        raise _not_brought(file, taken)


def _command(program: str, file: Mapping[str, Any]) -> list[str]:
    return [_PYTHON, "-I", "-c", program, f"{ROOT}/{file['path']}", str(file["sha256"]), str(file["size"])]


def _not_brought(file: Mapping[str, Any], result: RoomResult) -> PaictlError:
    said = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return PaictlError(
        f"{file['path']} could not be brought into its volume: {said[-1] if said else f'exit status {result.code}'}",
        help="Run the same command again: what is there stays.",
    )


def _rest(path: Path, done: int, size: int, emit: Emit, address: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(done)
        while piece := file.read(_CHUNK):
            yield piece
            done += len(piece)
            emit(Event("progress", address, {"what": "bringing", "done": done, "total": size}))


def _carrier(job: Json) -> dict[str, Any]:
    """A pod like the Job's own, which waits instead; it may write to the same volume, and has no way out."""
    template = job["spec"]["template"]
    spec = json.loads(json.dumps(template["spec"]))
    (container,) = spec["containers"]
    spec |= {"restartPolicy": "Never", "activeDeadlineSeconds": _LIFE_SECONDS, "terminationGracePeriodSeconds": 0}
    spec["containers"] = [
        {**container, "name": _CONTAINER, "args": ["-c", f"import time; time.sleep({_LIFE_SECONDS})"]},
    ]
    # Without the component, no policy lets it reach what the Job may reach.
    known = {
        key: value for key, value in template["metadata"]["labels"].items() if key != "app.kubernetes.io/component"
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"bring-{job['metadata']['name']}",
            "namespace": job["metadata"]["namespace"],
            "labels": {**known, **job["metadata"]["labels"], "app.kubernetes.io/component": "carrier"},
        },
        "spec": spec,
    }
