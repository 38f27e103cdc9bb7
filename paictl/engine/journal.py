"""The write-ahead record of steps begun and ended: JSON lines, each with its checksum. Kept by the ledger; decides nothing.

A begin is durable before the step's effect, an end before a dependent starts. What becomes ready at the same time is
committed together, with one fsync.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paictl.disk import sync_directory
from paictl.engine.inventory import Record, record_to_json
from paictl.engine.model import Step
from paictl.errors import PaictlError

__all__ = ["Entry", "Journal", "Replay", "begin", "end", "failed", "replay"]

Entry = Mapping[str, object]

# {"sum":"1a2b3c4d","entry":{…}}: the sum is CRC-32 over the bytes of the entry.
_HEAD, _MIDDLE, _TAIL = b'{"sum":"', b'","entry":', b"}\n"
_SUM_DIGITS = 8


def begin(step: Step) -> Entry:
    """A step is about to have its effect."""
    return {"type": "begin", "step": step.id, "address": str(step.address), "action": step.action}


def end(step: Step) -> Entry:
    """A step's effect is there, and healthy. Says what to remember from now on."""
    entry: dict[str, object] = {"type": "end", "step": step.id, "address": str(step.address), "action": step.action}
    if step.resource is not None:
        entry["record"] = record_to_json(Record.of(step.resource, step.fingerprint, step.instance))
    elif step.phase == 1:
        entry["gone"] = True
    return entry


def failed(step: Step, reason: str) -> Entry:
    """A step did not succeed; what it left is for the next observation to tell."""
    return {"type": "failed", "step": step.id, "address": str(step.address), "reason": reason}


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal says. ``damaged`` counts lines, other than a torn last one, that are not as they were written."""

    entries: tuple[Entry, ...] = ()
    damaged: int = 0
    valid_bytes: int = 0


def replay(path: Path) -> Replay:
    """Read a journal. A last line that a crash tore is as if it had never been begun."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Replay()
    entries, damaged, offset, valid = [], 0, 0, 0
    for line in content.splitlines(keepends=True):
        offset += len(line)
        entry = _parse(line)
        if entry is not None:
            entries.append(entry)
            valid = offset
        elif offset < len(content):
            damaged += 1
    return Replay(tuple(entries), damaged, valid)


def _parse(line: bytes) -> Entry | None:
    digits = line[len(_HEAD) : len(_HEAD) + _SUM_DIGITS]
    body = line[len(_HEAD) + _SUM_DIGITS + len(_MIDDLE) : -len(_TAIL)]
    if line != _HEAD + digits + _MIDDLE + body + _TAIL or digits != b"%08x" % zlib.crc32(body):
        return None
    entry = json.loads(body)
    return entry if isinstance(entry, dict) else None


class Journal:
    """An open journal, appended to by its one writer: whoever holds the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            sync_directory(path.parent)
        except OSError as error:
            raise self._broken(error) from error
        self._size = replay(path).valid_bytes
        os.ftruncate(self._descriptor, self._size)

    def commit(self, entries: Sequence[Entry]) -> None:
        """Append all of them, durably, with one fsync. Raises ``PaictlError`` when they can't be; then none of them is there."""
        lines = b"".join(_line(entry) for entry in entries)
        try:
            _write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise self._broken(error) from error
        self._size += len(lines)

    def _broken(self, error: OSError) -> PaictlError:
        return PaictlError(
            f"can't write the journal {self._path}: {error.strerror}",
            help="No step begins without it. Mend that (make room on a full disk), and apply again: it goes on from there.",
        )

    def retire(self) -> None:
        """Everything in it is in the state now: keep it beside, for people who want to know what happened."""
        self.close()
        self._path.replace(self._path.with_suffix(".last.jsonl"))
        sync_directory(self._path.parent)

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(entry: Entry) -> bytes:
    body = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return b"%s%08x%s%s%s" % (_HEAD, zlib.crc32(body), _MIDDLE, body, _TAIL)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
