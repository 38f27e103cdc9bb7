"""The keeper: holds an agent's secrets in memory, one tmpfs a service, where a container engine has no place of its own for them.

``hold`` is its main process; the driver runs the other verbs beside it (``python -m paictl.runtime.keeper VERB``). No value is
ever shown, logged, an argument or a variable. Below the root (``/srv/paictl``):

    config/keeper.json    {"services": {"gateway": ["gateway-token"]}, "generated": ["gateway-token"]}
    keys/NAME             the original of a generated secret: data, on disk
    vault/SERVICE/NAME    what the service reads; must be a tmpfs, and lives as long as a container holds it mounted
    vault/SERVICE/.NAME   its stamp: the fingerprint it was put with, and what tells that it was altered since

The standard library only, and little of it: it is started for every plan.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["GENERATED", "Keeper", "main"]

GENERATED = "generated"
"""Stands in the place of a fingerprint: the value was made here, and is the same as its original."""

_ALTERED = "altered"
_ROOT = Path("/srv/paictl")
_BYTES = 32
# The old and the new value stand side by side for a moment, in the 1 MiB that a service's tmpfs has for all of its secrets.
_MOST_BYTES = 128 << 10
_USAGE = "usage: keeper [--root ROOT] hold | status | make NAME | put NAME FINGERPRINT | drop NAME\n"


class Keeper:
    """The secrets below one root. Every method that writes leaves, wherever it is killed, the old value or the new one."""

    def __init__(self, root: Path) -> None:
        content = json.loads((root / "config" / "keeper.json").read_bytes())
        self._services: Mapping[str, Sequence[str]] = content["services"]
        self._generated = frozenset(content["generated"])
        self._keys, self._vault = root / "keys", root / "vault"

    def fill(self) -> list[str]:
        """Put the generated secrets that have an original where they belong; returns their names."""
        with self._alone():
            for folder in (self._keys, *self._folders()):
                for leftover in folder.glob(".*.new"):
                    leftover.unlink()
            names = [name for name in sorted(self._generated) if (self._keys / name).is_file()]
            for name in names:
                self._spread(name, (self._keys / name).read_bytes(), GENERATED)
        return names

    def make(self, name: str) -> None:
        """A generated secret: its original is made once, and copied to the services that read it."""
        if name not in self._generated:
            raise ValueError(f"`{name}` is not generated here")
        with self._alone():
            original = self._keys / name
            if not original.is_file():
                _write(original, self._believed(name) or _new_value(), 0o400)
            self._spread(name, original.read_bytes(), GENERATED)

    def put(self, name: str, fingerprint: str, value: bytes) -> None:
        """A declared secret: this value into every service that reads it."""
        if name in self._generated or not self._readers(name):
            raise ValueError(f"no service reads a declared secret `{name}`")
        with self._alone():
            self._spread(name, value, fingerprint)

    def drop(self, name: str) -> None:
        """Take it from every service. An original stays: it is data."""
        if not name or name.startswith(".") or "/" in name:
            raise ValueError("this is no name of a secret")
        with self._alone():
            for folder in self._folders():
                _remove(folder, name)

    def status(self) -> dict[str, str]:
        """Name -> the fingerprint that it stands with everywhere it belongs and only there, else ``altered``; absent ones are left out."""
        with self._alone(fcntl.LOCK_SH):
            return {name: self._state(name) for name in sorted(self._standing())}

    def _standing(self) -> set[str]:
        return {path.name for folder in self._folders() for path in folder.iterdir() if not path.name.startswith(".")}

    def _state(self, name: str) -> str:
        readers, folders = self._readers(name), [folder for folder in self._folders() if (folder / name).exists()]
        if readers and readers != {folder.name for folder in folders}:
            return _ALTERED
        found = {_stamped(folder, name) for folder in folders}
        if name in self._generated:
            original = self._keys / name
            values = {(folder / name).read_bytes() for folder in folders}
            return GENERATED if original.is_file() and values == {original.read_bytes()} else _ALTERED
        return found.pop() if len(found) == 1 else _ALTERED

    def _spread(self, name: str, value: bytes, fingerprint: str) -> None:
        readers = self._readers(name)
        for folder in self._folders():
            if folder.name not in readers:
                _remove(folder, name)
            elif _stamped(folder, name) != fingerprint or (folder / name).read_bytes() != value:
                _refuse_disk(folder)
                # A folder that a group may look into is that of software of others, which runs as a user of its own; the
                # files get that group from the folder's set-group-id bit, for which no capability is needed.
                _write(folder / name, value, 0o400 | (folder.stat().st_mode & stat.S_IRGRP))
                content = {"fingerprint": fingerprint, "stamp": _stamp(folder / name)}
                _write(folder / f".{name}", json.dumps(content).encode(), 0o400)

    def _believed(self, name: str) -> bytes | None:
        """What still stands with a service, when somebody lost the original."""
        for folder in self._folders():
            if _stamped(folder, name) == GENERATED:
                return (folder / name).read_bytes()
        return None

    def _readers(self, name: str) -> set[str]:
        return {service for service, names in self._services.items() if name in names}

    def _folders(self) -> list[Path]:
        return [self._vault / service for service in sorted(self._services)]

    @contextlib.contextmanager
    def _alone(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        """One at a time, also with the keeper that takes this one's place: both have ``keys`` mounted."""
        handle = os.open(self._keys, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def main(arguments: Sequence[str]) -> int:
    """Do one verb; what goes wrong is told in one sentence, without a value."""
    root, words = _ROOT, list(arguments)
    if words[:1] == ["--root"] and len(words) > 1:
        root, words = Path(words[1]), words[2:]
    try:
        match words:
            case ["hold"]:
                _hold(root)
            case ["status"]:
                sys.stdout.write(json.dumps(Keeper(root).status()) + "\n")
            case ["make", name]:
                Keeper(root).make(name)
            case ["put", name, fingerprint]:
                Keeper(root).put(name, fingerprint, _from_stdin())
            case ["drop", name]:
                Keeper(root).drop(name)
            case _:
                sys.stderr.write(_USAGE)
                return 2
    except OSError as error:
        sys.stderr.write(f"{error.filename or root}: {error.strerror or error}\n")
        return 1
    except (ValueError, KeyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _hold(root: Path) -> None:
    """Until told to end. What can't be filled in does not end it: that would let go of everything else."""
    # Blocked and waited for, so that it works for process 1 too, for which signals have no default effect.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    keeper = Keeper(root)
    try:
        sys.stdout.write(f"holding; generated: {', '.join(keeper.fill()) or 'none'}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"holding, but not everything is there: {error}\n")
    sys.stdout.flush()
    signal.sigwait(ends)


def _from_stdin() -> bytes:
    """Its length in bytes as a line, then the value: a connection that breaks off must not leave half of it."""
    line = sys.stdin.buffer.readline(16)
    length = int(line) if line.strip().isdigit() else 0
    if not 0 < length <= _MOST_BYTES:
        raise ValueError(f"a secret has 1 to {_MOST_BYTES} bytes")
    value = sys.stdin.buffer.read(length)
    if len(value) != length:
        raise ValueError("the value did not arrive whole; nothing was changed")
    return value


def _new_value() -> bytes:
    import base64

    return base64.urlsafe_b64encode(os.urandom(_BYTES)).rstrip(b"=")


def _write(path: Path, content: bytes, mode: int) -> None:
    """As one act. What a kill leaves beside it has a fixed name, and so goes with the next one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(folder: Path, name: str) -> None:
    for path in (folder / name, folder / f".{name}"):
        path.unlink(missing_ok=True)


def _stamped(folder: Path, name: str) -> str:
    """The fingerprint that the file was put with; empty without one, ``altered`` when it changed since."""
    try:
        content = json.loads((folder / f".{name}").read_bytes())
        return str(content["fingerprint"]) if content["stamp"] == _stamp(folder / name) else _ALTERED
    except FileNotFoundError:
        return _ALTERED if (folder / name).exists() else ""
    except (ValueError, KeyError, TypeError):
        return _ALTERED


def _stamp(path: Path) -> list[int]:
    status = path.lstat()
    return [status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _refuse_disk(folder: Path) -> None:
    """A service's folder that is not mounted, or not from memory, would put the value on a disk."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if line.split()[2] == number and line.partition(" - ")[2].split()[0] in {"tmpfs", "ramfs"}:
            return
    raise ValueError(f"{folder} is not in memory; a secret is not put there")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
