"""Puts a set back: opened, checked file by file, and only then moved to where it belongs. Called by the program of this package.

What stood there before is moved aside, never deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from paictl.runtime.backup.sets import LISTING, VERSION, BackupError, Plan

__all__ = ["restore"]


def restore(plan: Plan, source: BinaryIO, identity: str) -> tuple[int, list[Path]]:
    """Put the set's files in place; how many, and what was moved aside. The agent must be stopped.

    Raises ``BackupError`` before anything is changed, and ``OSError``.
    """
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=plan.base) as folder:
        staging = Path(folder)
        listing = _opened(source, _identities(identity), staging)
        files = _checked(plan, listing, staging)
        owners = {name: _owner(plan.base / name) for name in plan.folders}
        aside = [_move(plan, staging, name, owners[name]) for name in plan.folders if (staging / name).is_dir()]
        _put_secrets(plan, staging, [path for path in files if path.startswith("secrets/")])
    os.sync()
    return len(files), [path for path in aside if path]


def _identities(text: str) -> list[object]:
    import pyrage

    try:
        if text.startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = (line.strip() for line in text.splitlines())
        return [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        raise BackupError("that is no age identity: give the file that `age-keygen -o FILE` wrote") from error


def _opened(source: BinaryIO, identities: Sequence[object], staging: Path) -> dict[str, Any]:
    import pyrage

    plain = staging / "set.tar"
    try:
        with plain.open("xb") as file:
            pyrage.decrypt_io(source, file, identities)
        with tarfile.open(plain) as tar:
            for member in tar:
                _extract(tar, member, staging)
        listing: dict[str, Any] = json.loads(_first(staging).read_bytes())
    except pyrage.DecryptError as error:
        raise BackupError("it can't be opened: it is damaged, or was encrypted to another identity") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # What pyrage says of a piece in the middle that is not as it was written.
        raise BackupError("it can't be opened: it is damaged") from error
    except (tarfile.TarError, ValueError) as error:
        raise BackupError(f"it is no set of paictl's: {error}") from error
    plain.unlink()
    return listing


def _first(staging: Path) -> Path:
    if not (staging / LISTING).is_file():
        raise BackupError(f"it is no set of paictl's: {LISTING} is missing in it")
    return staging / LISTING


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, staging: Path) -> None:
    """A plain file below ``staging``; of anything else there is none in a set (Python before 3.11.4 has no filter for it)."""
    path = PurePosixPath(member.name)
    source = tar.extractfile(member) if member.isreg() and not path.is_absolute() and ".." not in path.parts else None
    if source is None:
        raise BackupError(f"it is no set of paictl's: {member.name} has no place in one")
    (staging / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (staging / path).open("xb") as file:
        shutil.copyfileobj(source, file)


def _checked(plan: Plan, listing: dict[str, Any], staging: Path) -> list[str]:
    """The files' paths. Raises ``BackupError`` when one is not as it was backed up."""
    if listing["version"] > VERSION:
        raise BackupError(f"it is of version {listing['version']}: upgrade paictl, this one reads {VERSION}")
    if listing["agent"] != plan.agent:
        raise BackupError(f"it is {listing['agent']}'s, not {plan.agent}'s")
    for file in listing["files"]:
        path = staging / file["path"]
        if not path.is_file():
            raise BackupError(f"{file['path']} is missing in it")
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                raise BackupError(f"{file['path']} is damaged in it")
        path.chmod(file["mode"])
    return [file["path"] for file in listing["files"]]


def _owner(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is not there: apply the manifest on this host first") from error
    return status.st_uid, status.st_gid


def _move(plan: Plan, staging: Path, name: str, owner: tuple[int, int]) -> Path | None:
    """Exchange one folder for the set's; returns where the old one is now, when there was something in it."""
    folder, restored = plan.base / name, staging / name
    restored.chmod(0o700)
    for path in (restored, *restored.rglob("*")):
        os.chown(path, *owner)
    aside = plan.base / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}" / name
    aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.rename(aside)
    restored.rename(folder)
    return aside if any(aside.iterdir()) else None


def _put_secrets(plan: Plan, staging: Path, files: Sequence[str]) -> None:
    for path in files if plan.secrets else ():
        assert plan.secrets  # noqa: S101 - there is nothing to go through without it
        temporary = plan.secrets / f".{Path(path).name}.restored"
        shutil.copyfile(staging / path, temporary)
        temporary.chmod(0o400)
        temporary.rename(plan.secrets / Path(path).name)
