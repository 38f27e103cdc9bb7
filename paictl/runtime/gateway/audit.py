"""Writes the audit log: a decision before each call, its effect after it; a call that can't be written down is refused.

Durability: a record has reached the kernel before its call goes on, so it survives the death of this process; it is on
the disk at the latest with the next checkpoint (every 64 records, a second after the last one, and at the end), which is
signed and then synced itself. Arguments are kept as HMACs under a key derived from the identity: enough to prove what was
asked, not enough to read it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.chain import GENESIS, canonical, checkpoints_of, digest, last_line
from paictl.runtime.gateway.identity import Identity
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.policy import Verdict

__all__ = ["AuditLog", "Call", "Entry", "Form", "Log", "chained", "refused"]

_EVERY = 64
_SECONDS = 1.0
_log = logging.getLogger("paictl.gateway")


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody wants: in whose name, what, on what, with what."""

    principal: str
    action: str
    resource: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    run: str = ""
    session: str = ""


class Log(Protocol):
    """A log that a call is written into, before it is done and after it: in a file, or in one that gateways share."""

    async def open(self) -> None:
        """Find where it ends. Raises ``ValueError`` when it can't be continued."""
        ...

    async def admit(self, call: Call, verdict: Verdict, refusal: ApiError | None = None) -> Entry:
        """Write the decision; then let the call go on or refuse it (403, or as told), or refuse it because it can't be written (503)."""
        ...

    def effect(self, entry: Entry, outcome: str, facts: Mapping[str, object]) -> None:
        """Write what came of a call; it has happened already, so a failure is logged and refuses the next one."""
        ...

    async def keep_signed(self) -> None:
        """Sign where it stands, again and again, for ever."""
        ...

    async def end(self) -> None:
        """The last signature; the log can be continued by the next process."""
        ...


@dataclass(slots=True)
class Entry:
    """A permitted call in flight; ``done`` writes its effect, once."""

    _log: Log
    call: Call
    decision: int
    _closed: bool = False

    def done(self, outcome: str, **facts: object) -> None:
        """What came of it: ``ok``, ``failed``, ``cancelled``, and figures about it. Never content."""
        if not self._closed:
            self._closed = True
            self._log.effect(self, outcome, facts)


class AuditLog:
    """The open log. All methods run on the event loop, so records are in one order."""

    def __init__(self, path: Path, identity: Identity, metrics: Metrics) -> None:
        self._form = Form(identity)
        self._metrics = metrics
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            record, self._size = last_line(path)
            signed, signed_size = last_line(checkpoints_of(path))
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} can't be continued: {error}") from error
        # One tuple, replaced whole: the checkpoint's thread reads it while the loop goes on.
        self._at = (int(record["seq"]), str(record["hash"])) if record else (0, GENESIS)
        self._signed = int(signed["seq"]) if signed else 0
        if self._signed > self._at[0]:
            raise ValueError(
                f"{path} ends at record {self._at[0]}, but record {self._signed} was signed: it was cut. "
                f"Keep it and {checkpoints_of(path)} as evidence and move both away to begin a new log."
            )
        self._file = _open(path, self._size)
        self._checkpoints = _open(checkpoints_of(path), signed_size)
        self._due = asyncio.Event()

    async def open(self) -> None:
        """It was found when it was made."""

    async def admit(self, call: Call, verdict: Verdict, refusal: ApiError | None = None) -> Entry:
        return self.decide(call, verdict, refusal)

    async def end(self) -> None:
        self.close()

    def decide(self, call: Call, verdict: Verdict, refusal: ApiError | None = None) -> Entry:
        """Write the decision; then let the call go on or refuse it (403, or as told), or refuse it because it can't be written (503)."""
        try:
            seq = self._append(self._form.decision(call, verdict))
        except OSError as error:
            self._metrics.refused("audit_unavailable")
            _log.error("the audit log can't be written: %s", error.strerror)
            raise ApiError(503, "audit_unavailable", "the audit log can't be written, so nothing is done") from error
        if not verdict.allowed:
            raise refused(verdict, refusal, self._metrics)
        return Entry(self, call, seq)

    def effect(self, entry: Entry, outcome: str, facts: Mapping[str, object]) -> None:
        """Write what came of a call; it has happened already, so a failure is logged and refuses the next one."""
        try:
            self._append(self._form.effect(entry, outcome, facts))
        except OSError as error:
            _log.error("the effect of record %d could not be written: %s", entry.decision, error.strerror)

    def checkpoint(self) -> None:
        """Sync what was written, sign where the chain stands, sync that."""
        seq, head = self._at
        if seq == self._signed:
            return
        os.fsync(self._file)
        _write_all(self._checkpoints, self._form.stamp(seq, head) + b"\n")
        os.fsync(self._checkpoints)
        self._signed = seq

    async def keep_signed(self) -> None:
        """Checkpoint for ever, in a thread, because a card's fsync can take longer than a token; cancelled before ``close``."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), _SECONDS)
            self._due.clear()
            try:
                await asyncio.to_thread(self.checkpoint)
            except OSError as error:
                _log.error("the audit log can't be signed: %s", error.strerror)

    def close(self) -> None:
        """The last checkpoint; the log can be continued by the next process."""
        try:
            self.checkpoint()
        except OSError as error:
            _log.error("the last checkpoint could not be written: %s", error.strerror)
        os.close(self._file)
        os.close(self._checkpoints)

    def _append(self, record: dict[str, Any]) -> int:
        seq, head = self._at
        chained(record, seq, head)
        line = canonical(record) + b"\n"
        try:
            _write_all(self._file, line)
        except OSError:
            # A torn line in the middle would break the chain for ever.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        self._at = (seq + 1, record["hash"])
        if seq + 1 - self._signed >= _EVERY:
            self._due.set()
        return seq + 1


class Form:
    """What a record and a signature look like, wherever they are kept."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._secret = identity.derive("audit arguments")

    def decision(self, call: Call, verdict: Verdict) -> dict[str, Any]:
        """A record of what was decided about a call."""
        return self._about(call, "decision") | {
            "allowed": verdict.allowed,
            "rule": verdict.rule,
            "arguments": {name: self._mac(value) for name, value in call.arguments.items()},
        }

    def effect(self, entry: Entry, outcome: str, facts: Mapping[str, object]) -> dict[str, Any]:
        """A record of what came of it."""
        return self._about(entry.call, "effect") | {
            "decision": entry.decision,
            "outcome": outcome,
            "facts": dict(facts),
        }

    def stamp(self, seq: int, head: str) -> bytes:
        """A signed line that says where the chain stood."""
        stamp: dict[str, Any] = {"seq": seq, "hash": head, "ts": _now()}
        stamp["signature"] = base64.b64encode(self._identity.sign(canonical(stamp))).decode()
        return canonical(stamp)

    def _about(self, call: Call, kind: str) -> dict[str, Any]:
        return {
            "kind": kind,
            "principal": call.principal,
            "action": call.action,
            "resource": call.resource,
            "run": call.run,
            "session": self._mac(call.session) if call.session else "",
        }

    def _mac(self, value: object) -> str:
        text = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def chained(record: dict[str, Any], seq: int, head: str) -> None:
    """Make a record the next one of the chain that stands at ``seq`` with the hash ``head``."""
    record |= {"seq": seq + 1, "ts": _now(), "prev": head}
    record["hash"] = digest(record)


def refused(verdict: Verdict, refusal: ApiError | None, metrics: Metrics) -> ApiError:
    """What a call that is not allowed is answered, counted."""
    refusal = refusal or ApiError(403, "not_permitted", f"not permitted: {verdict.rule}")
    metrics.refused(refusal.code)
    return refusal


def _open(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, size)
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
