"""Makes a set: a tar of what ``snapshot`` copied, encrypted to age recipients, whole under its name or not there at all.

``age -d -i KEY SET | tar x`` opens one without paictl. Called by the program of this package; never deletes what it did not make.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from paictl.disk import sync_directory
from paictl.runtime.backup.snapshot import Copied, snapshot

__all__ = ["LISTING", "VERSION", "BackupError", "Plan", "made", "make", "newest"]

VERSION = 1
"""Of what a set holds; every old version is read forever."""

LISTING = "set.json"
"""The first file of a set: whose it is, when it was made, and every other file with its size, mode and SHA-256."""

_CHUNK = 1 << 20
_END = ".tar.age"
_STAMP = "%Y%m%dT%H%M%SZ"


class BackupError(Exception):
    """What went wrong and what to do about it, for the journal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is backed up and where to: ``folders`` of ``base`` in order, the files of ``secrets``; ``keep`` sets stay.

    A set is due when the newest is ``due_seconds`` old.
    """

    agent: str
    base: Path
    folders: Sequence[str]
    secrets: Path | None
    to: Path
    recipients: Sequence[str]
    keep: int
    due_seconds: float


def newest(plan: Plan) -> float | None:
    """When the newest set was begun, in seconds since the epoch."""
    return max((when for when, _ in made(plan)), default=None)


def made(plan: Plan) -> list[tuple[float, Path]]:
    """The sets of this agent that stand, oldest first."""
    found = []
    for path in plan.to.glob(f"paictl-{plan.agent}-*{_END}"):
        stamp = path.name.removeprefix(f"paictl-{plan.agent}-").removesuffix(_END)
        try:
            found.append((_seconds(stamp), path))
        except ValueError:
            continue
    return sorted(found)


def make(plan: Plan, now: float) -> Path:
    """Make one set, then remove the oldest beyond ``keep``. Raises ``BackupError``, ``OSError`` and ``sqlite3.Error``."""
    recipients = [_recipient(text) for text in plan.recipients]
    if not plan.to.is_dir():
        raise BackupError(f"{plan.to} is not there: mount its disk, or make the directory")
    for torn in plan.to.glob(f".paictl-{plan.agent}-*"):
        torn.unlink()
    with tempfile.TemporaryDirectory(prefix="paictl-backup-") as folder:
        staging = Path(folder)
        copied = [*snapshot(plan.base, plan.folders, staging), *_secrets(plan, staging)]
        listing = {"version": VERSION, "agent": plan.agent, "made": int(now), "files": [asdict(one) for one in copied]}
        stamp = time.strftime(_STAMP, time.gmtime(now))
        path = plan.to / f"paictl-{plan.agent}-{stamp}{_END}"
        _write(path, _Reader(_tar(listing, copied, staging)), recipients)
    for _, old in made(plan)[: -plan.keep]:
        old.unlink()
    return path


def _seconds(stamp: str) -> float:
    import calendar

    return float(calendar.timegm(time.strptime(stamp, _STAMP)))


def _secrets(plan: Plan, staging: Path) -> Iterator[Copied]:
    for path in sorted(plan.secrets.iterdir()) if plan.secrets else ():
        copy = staging / "secrets" / path.name
        copy.parent.mkdir(exist_ok=True, mode=0o700)
        shutil.copyfile(path, copy)
        yield Copied(f"secrets/{path.name}", copy.stat().st_size, 0o400, hashlib.sha256(copy.read_bytes()).hexdigest())


def _recipient(text: str) -> object:
    import pyrage

    try:
        return (
            pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text)
        )
    except pyrage.RecipientError as error:
        raise BackupError(f"{text} is no age recipient: `age-keygen -y KEY` prints the one of a key") from error


def _tar(listing: object, copied: Sequence[Copied], staging: Path) -> Iterator[bytes]:
    """The bytes of a tar file, one piece at a time: it is never whole in memory or on the disk."""
    text = json.dumps(listing, indent=1).encode()
    yield from _member(LISTING, 0o400, len(text), [text])
    for one in copied:
        yield from _member(one.path, one.mode, one.size, _pieces(staging / one.path))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, mode: int, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    head = tarfile.TarInfo(name)
    head.mode, head.size = mode, size
    yield head.tobuf(tarfile.PAX_FORMAT)
    yield from pieces
    yield bytes(-size % tarfile.BLOCKSIZE)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


class _Reader(io.RawIOBase):
    """An iterator of bytes as a file that is read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        cut = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:cut], self._rest[cut:]
        return piece


def _write(path: Path, reader: io.RawIOBase, recipients: Sequence[object]) -> None:
    import pyrage

    temporary = path.with_name(f".{path.name}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
            pyrage.encrypt_io(reader, file, recipients)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
