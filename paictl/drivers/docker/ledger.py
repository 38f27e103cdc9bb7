"""The engine's record of an agent, kept on the target: JSON in a volume of its own, read and written without running anything.

A container that is never started has the volume mounted, so that the archive API reaches into it; it stays, so that reading
writes nothing. Two files take turns, each with a number and a checksum: whatever a crash tears, the other one is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from paictl.drivers.docker import empty_image, safekeeping
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import AGENT, KIND, TARGET, engine_name, labels, owner_of
from paictl.drivers.docker.troubles import EngineError
from paictl.engine.driver import Scope
from paictl.errors import Refused

__all__ = ["adopt", "adopted", "container_name", "forget", "load", "save", "volume_name"]

_KIND = "ledger"
_FOLDER = "/paictl"
_SLOTS = 2
_ADOPTED = "adopted.json"


def volume_name(scope: Scope) -> str:
    """Where it lies."""
    return engine_name(scope.agent, "paictl")


def container_name(scope: Scope) -> str:
    """What gives access to it."""
    return f"{scope.agent}-paictl-{_KIND}"


def save(connection: Connection, scope: Scope, inventory: Mapping[str, object]) -> None:
    """Keep it; raises ``Refused`` when a volume of that name is somebody else's.

    One without resources is not kept once nothing of the agent's is left on the engine: then the volume goes, too.
    """
    stands = _ours(connection, scope)
    if not inventory.get("resources"):
        if not stands:
            return
        if not _something_left(connection, scope):
            forget(connection, scope)
            return
    reader = _opened(connection, scope)
    number = max(_read(connection, reader), default=0) + 1
    content = json.dumps(dict(inventory), sort_keys=True)
    whole = {"format": 1, "number": number, "sha256": _digest(content), "inventory": content}
    archive = empty_image.tar_of({_slot(number): json.dumps(whole).encode()})
    with connection.told("writing the record of the agent"):
        connection.api.put_archive(reader, _FOLDER, archive)
    safekeeping.keep(connection, scope, inventory)


def load(connection: Connection, scope: Scope) -> Mapping[str, object] | None:
    """The newest whole one, or None. Writes nothing as long as the container stands that ``save`` left."""
    if not _ours(connection, scope, must=False):
        return None
    versions = _read(connection, _opened(connection, scope))
    return versions[max(versions)] if versions else None


def forget(connection: Connection, scope: Scope) -> None:
    """Remove it, and what gave access to it; leaves alone what isn't ours."""
    safekeeping.release(connection, scope)
    reader = _container(connection, scope)
    if reader:
        with connection.told(f"removing {container_name(scope)}"):
            connection.api.remove_container(reader, force=True)
    if _ours(connection, scope, must=False):
        with connection.told(f"removing {volume_name(scope)}"):
            connection.api.remove_volume(volume_name(scope))
    empty_image.remove(connection)


def adopted(connection: Connection, scope: Scope) -> dict[str, str]:
    """What was adopted: short address -> the engine's own name of it. A label can't be added to what exists."""
    if not _ours(connection, scope, must=False):
        return {}
    content = _files(connection, _opened(connection, scope)).get(_ADOPTED, b"{}")
    try:
        return {str(key): str(value) for key, value in json.loads(content).items()}
    except (ValueError, AttributeError):
        return {}


def adopt(connection: Connection, scope: Scope, handles: Mapping[str, str]) -> None:
    """Keep what else was adopted."""
    content = json.dumps({**adopted(connection, scope), **handles}, sort_keys=True)
    archive = empty_image.tar_of({_ADOPTED: content.encode()})
    with connection.told("writing what was adopted"):
        connection.api.put_archive(_opened(connection, scope), _FOLDER, archive)


def _ours(connection: Connection, scope: Scope, *, must: bool = True) -> bool:
    """Whether the volume stands and is ours; raises ``Refused`` for another's when it ``must`` be ours."""
    try:
        with connection.told(f"looking at {volume_name(scope)}"):
            told = connection.api.inspect_volume(volume_name(scope))
    except EngineError as error:
        if error.status != 404:
            raise
        return False
    return _is_ours(told, scope, must=must)


def _is_ours(told: Mapping[str, Any], scope: Scope, *, must: bool) -> bool:
    marks = told.get("Labels") or {}
    ours = owner_of(scope, marks) == "mine" and marks.get(KIND) == _KIND
    if must and not ours:
        whose = f"{marks[AGENT]}'s on {marks.get(TARGET)}" if marks.get(KIND) == _KIND else "not paictl's"
        raise Refused(
            f"there is a volume named {volume_name(scope)}, which is {whose}",
            help="Give the agent another name, or remove that volume if nobody needs it.",
        )
    return ours


def _container(connection: Connection, scope: Scope) -> str:
    """The id of the container that gives access; empty when there is none."""
    name = container_name(scope)
    try:
        with connection.told(f"looking at {name}"):
            told = connection.api.inspect_container(name)
    except EngineError as error:
        if error.status != 404:
            raise
        return ""
    if owner_of(scope, told["Config"].get("Labels")) != "mine":
        raise Refused(f"there is a container named {name}, which is not paictl's", help="Rename or remove it.")
    return str(told["Id"])


def _opened(connection: Connection, scope: Scope) -> str:
    """The id of the container that gives access, made with its volume if need be."""
    found = _container(connection, scope)
    if found:
        return found
    marks = labels(scope, _KIND, _KIND)
    with connection.told(f"creating {volume_name(scope)}"):
        # The engine answers with what stands there already, whosever it is.
        _is_ours(connection.api.create_volume(volume_name(scope), labels=marks), scope, must=True)
    return empty_image.create(connection, container_name(scope), marks, {volume_name(scope): _FOLDER})


def _something_left(connection: Connection, scope: Scope) -> bool:
    """Whether anything of the agent's stands, beside this and the lock."""
    mine = {"label": [f"{AGENT}={scope.agent}", f"{TARGET}={scope.target}"]}
    with connection.told("looking for what is left of the agent"):
        api = connection.api
        found = [one.get("Labels") for one in api.containers(all=True, filters=mine)]
        found += [one.get("Labels") for one in api.volumes(filters=mine)["Volumes"] or []]
        found += [one.get("Labels") for one in api.networks(filters=mine)]
    return any((marks or {}).get(KIND) not in {_KIND, safekeeping.KEPT, "lock"} for marks in found)


def _read(connection: Connection, reader: str) -> dict[int, Mapping[str, object]]:
    """Every whole version by its number."""
    versions = (_version(content) for content in _files(connection, reader).values())
    return dict(version for version in versions if version)


def _files(connection: Connection, reader: str) -> dict[str, bytes]:
    """Everything that lies there."""
    with connection.told("reading the record of the agent"):
        pieces, _ = connection.api.get_archive(reader, _FOLDER)
        content = b"".join(pieces)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file:
                found[PurePosixPath(member.name).name] = file.read()
    return found


def _version(content: bytes) -> tuple[int, Mapping[str, object]] | None:
    try:
        told = json.loads(content)
        if told["sha256"] != _digest(told["inventory"]):
            return None
        return int(told["number"]), json.loads(told["inventory"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _slot(number: int) -> str:
    return f"inventory-{number % _SLOTS}.json"


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
