"""The audit log's format and its proof: hash-chained JSON lines, signed checkpoints, and what ``verify_chain`` finds wrong.

A record's ``hash`` is the SHA-256 of its canonical JSON without ``hash``; its ``prev`` is the hash of the record before.
The log alone shows alteration, deletion and reordering; a truncated end shows against the last signed checkpoint, which
stands in a file of its own. What was written after the last checkpoint and cut off again can't be told.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["GENESIS", "Finding", "canonical", "checkpoints_of", "digest", "last_line", "verify_chain"]

GENESIS = "0" * 64
_TAIL = 65536

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a log, and at which line (from 1; 0: about the file)."""

    kind: Literal["altered", "missing", "reordered", "truncated", "unreadable", "bad-signature"]
    line: int
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind}: {self.detail}" if self.line else f"{self.kind}: {self.detail}"


def canonical(record: Record) -> bytes:
    """The one encoding that is hashed and signed."""
    return json.dumps(record, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode()


def digest(record: Record) -> str:
    """The hash a record must carry."""
    return hashlib.sha256(canonical({key: value for key, value in record.items() if key != "hash"})).hexdigest()


def checkpoints_of(log: Path) -> Path:
    """Where the signed checkpoints of a log stand."""
    return log.with_name(log.name + ".checkpoints")


def last_line(path: Path) -> tuple[Record | None, int]:
    """The last whole record and the length of the file up to its end; a torn last line (no newline) is left out.

    Raises ``ValueError`` when the last whole line is not a record.
    """
    if not path.exists():
        return None, 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        window = min(size, _TAIL)
        file.seek(size - window)
        tail = file.read(window)
    end = tail.rfind(b"\n")
    if end < 0:
        return None, size - window
    begin = tail.rfind(b"\n", 0, end) + 1
    record = json.loads(tail[begin:end])
    if not isinstance(record, dict):
        raise ValueError("not a record")  # noqa: TRY004 - the caller asks whether the line is readable
    return record, size - window + end + 1


def verify_chain(log: Path, key: Ed25519PublicKey) -> list[Finding]:
    """Everything that is wrong with a log and its checkpoints, in the order of the file; empty when whole."""
    findings: list[Finding] = []
    hashes: dict[int, str] = {}
    previous, expected = GENESIS, 1
    for line, record in _records(log, findings):
        seq, stated = record.get("seq"), record.get("hash")
        if stated != digest(record):
            findings.append(Finding("altered", line, f"record {seq} does not match its hash"))
        elif isinstance(seq, int) and seq > expected:
            findings.append(Finding("missing", line, f"records {expected} to {seq - 1} are not before record {seq}"))
        elif isinstance(seq, int) and seq < expected:
            findings.append(Finding("reordered", line, f"record {seq} stands after record {expected - 1}"))
        elif record.get("prev") != previous:
            findings.append(Finding("altered", line, f"record {seq} does not continue the record before it"))
        if isinstance(seq, int) and isinstance(stated, str):
            hashes[seq] = stated
            previous, expected = stated, max(seq + 1, expected)
        else:
            expected += 1
    findings += _against_checkpoints(log, key, hashes)
    return findings


def _against_checkpoints(log: Path, key: Ed25519PublicKey, hashes: dict[int, str]) -> Iterator[Finding]:
    last = max(hashes, default=0)
    signed: list[Finding] = []
    for line, checkpoint in _records(checkpoints_of(log), signed):
        seq = int(checkpoint.get("seq", 0))
        try:
            signature = base64.b64decode(str(checkpoint.get("signature")))
            key.verify(signature, canonical({name: checkpoint.get(name) for name in ("seq", "hash", "ts")}))
        except (InvalidSignature, ValueError):
            yield Finding("bad-signature", 0, f"the checkpoint in line {line} was not signed by this identity")
            continue
        if seq > last:
            yield Finding("truncated", 0, f"the log ends at record {last}; record {seq} was signed")
            return
        if hashes.get(seq) != checkpoint.get("hash"):
            yield Finding("altered", 0, f"record {seq} is not the one that was signed")
    for finding in signed:
        yield Finding("unreadable", 0, f"checkpoints, {finding}")


def _records(path: Path, findings: list[Finding]) -> Iterator[tuple[int, Record]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return  # torn by a crash in the middle of a write: that call was never let through
            try:
                record = json.loads(raw)
            except ValueError:
                record = None
            if isinstance(record, dict):
                yield number, record
            else:
                findings.append(Finding("unreadable", number, "not a record"))
