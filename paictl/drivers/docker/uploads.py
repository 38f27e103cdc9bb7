"""Puts files into an engine's volumes through its archive API, and looks at them there: nothing is mounted from this machine.

Called by the kinds whose things are files. A volume is reached through a container that mounts it; a service that mounts it
read-only won't do for writing (the engine refuses), so a *carrier* is made for the time of it: a container that is never started.
"""

from __future__ import annotations

import base64
import hashlib
import http
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.troubles import EngineError
from paictl.errors import PaictlError
from paictl.events import Emit, Event

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ModelFile", "fetch_text", "give", "put_text", "put_weights", "stamp", "stat"]

_CARRIED = "/volume"
"""Where a carrier has its volume."""

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
# Reading back doubles what travels, and of gigabytes over ssh that is minutes. A connection that breaks off is found without
# it (the size), and so is a source that isn't what it should be (the hash on the way): it finds a disk that writes wrong.
_READ_BACK_BYTES = 256 << 20
_FIRST_STAMP = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of this machine and the place in a volume that it belongs to; ``address`` is what its progress is told under."""

    volume: str
    path: str
    sha256: str
    size: int
    source: Path
    address: str = ""


def stamp(sha256: str) -> int:
    """The modification time, in seconds, of a file that arrived whole: told by its hash, somewhere from 2001 to 2010.

    The engine sets it after the last byte. So who sees this time and the right size knows what is there without reading it.
    """
    return _FIRST_STAMP + int(sha256[:7], 16)


def put_text(
    connection: Connection, volume: str, image: str, files: Mapping[str, str], labels: Mapping[str, str], time: int = 0
) -> None:
    """Put these files (path in the volume -> text) there, for everybody to read; one of that name is replaced.

    ``time`` is when they say that they were changed, in seconds: an altered file says another.
    A volume that is there does not tell whether an earlier, killed run had got as far as its files: put them again.
    ``image`` is any that the engine has. ``labels`` mark the carrier, so that the next one finds what a kill left of it.
    """
    with (
        connection.told(f"putting files into the volume {volume}"),
        _carrier(connection, volume, image, labels) as carrier,
    ):
        connection.api.put_archive(carrier, _CARRIED, _packed_text(files, time))


@contextmanager
def _carrier(connection: Connection, volume: str, image: str, labels: Mapping[str, str]) -> Iterator[str]:
    """A container that mounts the volume and never starts, gone afterwards; yields its id."""
    from docker.types import Mount

    api = connection.api
    # A volume that is not there would be made in passing, without a label.
    api.inspect_volume(volume)
    _remove_carriers(connection, volume, labels)
    host = api.create_host_config(mounts=[Mount(_CARRIED, volume, no_copy=True)], network_mode="none")
    made = api.create_container(image, command=["carrier"], labels=dict(labels), host_config=host)
    try:
        yield str(made["Id"])
    finally:
        _remove_carriers(connection, volume, labels)


def _remove_carriers(connection: Connection, volume: str, labels: Mapping[str, str]) -> None:
    from docker.errors import APIError

    filters = {"volume": [volume], "label": [f"{key}={value}" for key, value in labels.items()], "status": ["created"]}
    for found in connection.api.containers(all=True, filters=filters):
        try:
            # With the volumes that an image of others asks for by itself, and that have no name of ours.
            connection.api.remove_container(found["Id"], force=True, v=True)
        except APIError as error:
            # Gone already, or about to go.
            if error.status_code not in {404, 409}:
                raise


def _packed_text(files: Mapping[str, str], time: int = 0) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in sorted({str(one) for path in files for one in PurePosixPath(path).parents} - {"."}):
            archive.addfile(_entry(folder, mode=0o755, kind=tarfile.DIRTYPE))
        for path, text in sorted(files.items()):
            content = text.encode()
            archive.addfile(_entry(path, len(content), time=time), io.BytesIO(content))
    return packed.getvalue()


def give(
    connection: Connection, volume: str, image: str, place: tuple[str, str], user: str, labels: Mapping[str, str]
) -> None:
    """Make an empty volume belong to ``user`` (UID:GID), who is to write there; what holds anything stays as it is.

    ``place`` is a container, started or not, and the path that it has the volume at. An engine makes a volume for root, and
    takes over the owner only of a directory that the image has there. ``image`` and ``labels`` as in ``put_text``.
    """
    with connection.told(f"giving the volume {volume} to its user"):
        folder, empty = _folder(connection, *place)
        uid, gid = (int(one) for one in user.split(":"))
        if not empty or _may_write(folder, uid, gid):
            return
        with _carrier(connection, volume, image, labels) as carrier:
            entry = _entry(_CARRIED.lstrip("/"), mode=folder.mode | 0o700, time=int(folder.mtime), kind=tarfile.DIRTYPE)
            entry.uid, entry.gid = uid, gid
            # Put from above: of what goes into a directory, the entry for that itself is passed over.
            connection.api.put_archive(carrier, "/", entry.tobuf(tarfile.GNU_FORMAT) + bytes(2 * _BLOCK))


def _folder(connection: Connection, container_id: str, path: str) -> tuple[tarfile.TarInfo, bool]:
    """A directory of a container, and whether it is empty; of its content only the beginning is asked for."""
    api = connection.api
    url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/archive"
    with api.get(url, params={"path": path}, timeout=api.timeout, stream=True) as answer:
        answer.raise_for_status()
        reader = io.BufferedReader(_Stream(answer.iter_content(_BLOCK)))
        with tarfile.open(fileobj=reader, mode="r|", bufsize=_BLOCK) as archive:
            folder = archive.next()
            if folder is None:
                raise PaictlError(f"the engine tells nothing of {path} in a container", help="Run the same again.")
            return folder, archive.next() is None


def _may_write(folder: tarfile.TarInfo, uid: int, gid: int) -> bool:
    if folder.uid == uid:
        return bool(folder.mode & 0o200)
    return bool(folder.mode & (0o020 if folder.gid == gid else 0o002))


def fetch_text(connection: Connection, container_id: str, path: str) -> str | None:
    """The text of one file in a container, started or not; None when it is not there."""
    if stat(connection, container_id, path) is None:
        return None
    with connection.told(f"reading {path} of a container"):
        return b"".join(_content(connection, container_id, path)).decode()


def stat(connection: Connection, container_id: str, path: str) -> tuple[int, int] | None:
    """Size in bytes and modification time in seconds of a file in a container, started or not; None when it is not there."""
    try:
        with connection.told(f"looking for {path} in a container"):
            head = connection.head(f"/containers/{container_id}/archive", path=path)
    except EngineError as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise
        with connection.told(f"looking for {path} in a container"):
            # So says the engine also of a container that is gone, of which this raises.
            connection.ask(f"/containers/{container_id}/json")
        return None
    told = json.loads(base64.b64decode(head["X-Docker-Container-Path-Stat"]))
    return int(told["size"]), int(datetime.fromisoformat(told["mtime"]).timestamp())


def put_weights(connection: Connection, file: ModelFile, image: str, labels: Mapping[str, str], emit: Emit) -> None:
    """Bring a model file into its volume, unless it stands there. Repeating it after a kill at any point is safe.

    Constant memory. ``image`` and ``labels`` as in ``put_text``. Raises ``PaictlError`` when the source is not that file.
    """
    place = f"{_CARRIED}/{file.path}"
    with (
        connection.told(f"uploading {file.path}"),
        _carrier(connection, file.volume, image, labels) as carrier,
    ):
        if stat(connection, carrier, place) == (file.size, stamp(file.sha256)):
            return
        connection.api.put_archive(carrier, _CARRIED, _packed(file, emit))
        if file.size <= _READ_BACK_BYTES and _hash(connection, carrier, place) != file.sha256:
            # Empty, nobody takes it for the file.
            connection.api.put_archive(carrier, _CARRIED, _packed_text({file.path: ""}))
            raise PaictlError(
                f"{file.path} is not in the volume {file.volume} as it was sent there",
                help="The engine's disk, or the way to it, changes what is written; its kernel's log may tell more.",
            )


def _packed(file: ModelFile, emit: Emit) -> Iterator[bytes]:
    """The archive, a chunk at a time. The last one is held back until the hash is right: without it nothing stands there."""
    told, done, held, digest = -1, 0, b"", hashlib.sha256()
    with file.source.open("rb") as source:
        # Of one that is too long, all that was announced would stand there before its hash is known.
        if os.fstat(source.fileno()).st_size != file.size:
            raise _unlike(file, "its size is another")
        yield _entry(file.path, file.size, time=stamp(file.sha256)).tobuf(tarfile.GNU_FORMAT)
        while chunk := source.read(min(_CHUNK, file.size - done)):
            if held:
                yield held
            digest.update(chunk)
            done, held = done + len(chunk), chunk
            if (percent := 100 * done // file.size) > told:
                told = percent
                progress = {"what": f"upload {file.path}", "done": done, "total": file.size}
                emit(Event("progress", file.address, progress))
    if digest.hexdigest() != file.sha256:
        raise _unlike(file, f"its sha256 is {digest.hexdigest()}")
    yield held + bytes(-file.size % _BLOCK + 2 * _BLOCK)


def _unlike(file: ModelFile, why: str) -> PaictlError:
    return PaictlError(
        f"{file.source} is not the file with the sha256 {file.sha256} that was locked: {why}",
        help="Delete it; the next apply fetches it again.",
    )


def _hash(connection: Connection, container_id: str, path: str) -> str:
    digest = hashlib.sha256()
    for chunk in _content(connection, container_id, path):
        digest.update(chunk)
    return digest.hexdigest()


def _content(connection: Connection, container_id: str, path: str) -> Iterator[bytes]:
    """The bytes of one file, as they come."""
    chunks, _ = connection.api.get_archive(container_id, path)
    with tarfile.open(fileobj=io.BufferedReader(_Stream(chunks)), mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            while file is not None and (chunk := file.read(_CHUNK)):
                yield chunk
            return


class _Stream(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._left:
            self._left = next(self._chunks, b"")
        count = min(len(view), len(self._left))
        view[:count], self._left = self._left[:count], self._left[count:]
        return count


def _entry(
    path: str, size: int = 0, *, mode: int = 0o444, time: int = 0, kind: bytes = tarfile.REGTYPE
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime, entry.type = size, mode, time, kind
    return entry
