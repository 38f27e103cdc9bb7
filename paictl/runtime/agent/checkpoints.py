"""How work in flight is written down: JSON under an HMAC, so that whoever edits the database runs no code.

DBOS calls the serializer for every workflow input, step result and failure; ``service`` installs it once. What DBOS
would read by other means (a row may name pickle or plain JSON as its own format) is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from dbos import _serialization as dbos_serialization
from pydantic import TypeAdapter
from pydantic_ai.messages import ModelResponse

__all__ = ["CheckpointRefused", "EncryptedJson", "SealedJson", "StepFailed", "load_key", "refuse_unsealed"]

log = logging.getLogger(__name__)

_TAG = "$"
_CONTEXT = b"paictl checkpoint 1\n"
_NONCE = 12
_RESPONSE: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)


class CheckpointRefused(Exception):
    """A checkpoint that this agent did not write, or that was changed since. Nothing in it was loaded."""


class StepFailed(Exception):
    """A failure recorded by an earlier life of the process, as its type's name and its message."""


def load_key(path: Path) -> bytes:
    """The key of the seals; raises ``ValueError`` when there is too little of it to protect anything."""
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise ValueError(f"{path} holds {len(key)} bytes; a checkpoint key needs at least 16")
    return key


class SealedJson(dbos_serialization.Serializer):
    """JSON, and before it the HMAC-SHA256 of the JSON. Nothing is parsed before the seal is found whole."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name(self) -> str:
        return "paictl_sealed_json"

    def serialize(self, data: Any) -> str:
        body = json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":"))
        return f"{self._seal(body)}.{body}"

    def deserialize(self, serialized_data: str) -> Any:
        seal, _, body = str(serialized_data).partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(body).encode()):
            refuse()
        return _lively(json.loads(body))

    def _seal(self, body: str) -> str:
        return hmac.new(self._key, _CONTEXT + body.encode(), hashlib.sha256).hexdigest()


class EncryptedJson(SealedJson):
    """The same under AES-256-GCM, for a database that is not in the agent's own room: it can't read what it keeps."""

    def __init__(self, key: bytes) -> None:
        # Another library to load, of no use to an agent that keeps a file.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        super().__init__(key)
        self._cipher = AESGCM(hmac.new(key, b"paictl checkpoint encryption 1\n", hashlib.sha256).digest())

    def name(self) -> str:
        return "paictl_encrypted_json"

    def serialize(self, data: Any) -> str:
        nonce = os.urandom(_NONCE)
        body = json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":"))
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, body.encode(), _CONTEXT)).decode()

    def deserialize(self, serialized_data: str) -> Any:
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(str(serialized_data), validate=True)
            body = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _CONTEXT)
        except (InvalidTag, ValueError):
            refuse()
        return _lively(json.loads(body))


def refuse_unsealed() -> None:
    """Close DBOS's other readers: each row names its own format, and naming pickle would go around the seal."""
    for reader in (dbos_serialization.DefaultSerializer, dbos_serialization.DBOSPortableJSONSerializer):
        setattr(reader, "deserialize", _unsealed)  # noqa: B010 - assigning a method is meant, and mypy forbids it plainly


def _unsealed(reader: object, serialized_data: object) -> NoReturn:
    del reader, serialized_data
    refuse()


def refuse() -> NoReturn:
    log.error("checkpoint refused: its seal is missing or wrong; nothing of it was loaded")
    raise CheckpointRefused("checkpoint refused: its seal is missing or wrong; nothing of it was loaded")


def _plain(value: Any) -> Any:
    """A value as JSON; the few types that a checkpoint holds beside JSON's own are named by a tag."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        plain = {str(key): _plain(one) for key, one in value.items()}
        return {_TAG: "map", "value": plain} if _TAG in plain else plain
    if isinstance(value, datetime):
        return {_TAG: "datetime", "value": value.isoformat()}
    if isinstance(value, ModelResponse):
        return {_TAG: "response", "value": _RESPONSE.dump_python(value, mode="json")}
    if isinstance(value, BaseException):
        return {_TAG: "failure", "value": f"{type(value).__name__}: {value}"}
    raise TypeError(f"a checkpoint can't hold a {type(value).__name__}")


def _lively(value: Any) -> Any:
    if isinstance(value, list):
        return [_lively(one) for one in value]
    if not isinstance(value, dict):
        return value
    tag, content = value.get(_TAG), value.get("value")
    if tag == "datetime":
        return datetime.fromisoformat(str(content))
    if tag == "response":
        return _RESPONSE.validate_python(content)
    if tag == "failure":
        return StepFailed(str(content))
    inner = content if tag == "map" and isinstance(content, dict) else value
    return {key: _lively(one) for key, one in inner.items()}
