"""The agent's identity: an Ed25519 key made at the first start, and the inception event that its id is the hash of.

The event commits to the hash of the next key as well (pre-rotation), so that a later rotation can be verified from the id
alone. It holds nothing but keys: losing the event's file loses nothing, it is written again from the two key files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Identity", "given", "load_or_create", "public_key"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the agent is; signs checkpoints of the audit log."""

    id: str
    inception: bytes
    _key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature."""
        return self._key.sign(message)

    def public(self) -> Ed25519PublicKey:
        """What verifies them."""
        return self._key.public_key()

    def derive(self, purpose: str) -> bytes:
        """A secret of 32 bytes for one purpose, the same after each start."""
        derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"paictl {purpose}".encode())
        return derivation.derive(self._key.private_bytes_raw())


def given(key: Path, following: Path) -> Identity:
    """The identity of two keys that were made elsewhere and given to every gateway; nothing is written. Raises ``ValueError``."""
    pair = [_given_key(path) for path in (key, following)]
    return Identity(name(_inception(*pair)), _inception(*pair), pair[0])


def load_or_create(path: Path) -> Identity:
    """The identity whose key is at ``path``; ``.next`` and ``.inception`` stand beside it. Raises ``ValueError`` when damaged."""
    # The next key first: the id exists once the current key does, and by then everything it commits to is durable.
    following = _key(path.with_suffix(".next"))
    key = _key(path)
    inception = _inception(key, following)
    event = path.with_suffix(".inception")
    if not event.exists():
        _write(event, inception + b"\n", 0o644)
    elif event.read_bytes().strip() != inception:
        raise ValueError(f"{event} does not belong to {path}; restore both from the same backup")
    return Identity(name(inception), inception, key)


def _inception(key: Ed25519PrivateKey, following: Ed25519PrivateKey) -> bytes:
    event = {
        "keys": [_b64(key.public_key().public_bytes_raw())],
        "next": [_b64(hashlib.sha256(following.public_key().public_bytes_raw()).digest())],
        "type": "inception",
        "version": 1,
    }
    return json.dumps(event, separators=(",", ":"), sort_keys=True).encode()


def _given_key(path: Path) -> Ed25519PrivateKey:
    """A key from 32 random bytes, as paictl generates secrets: URL-safe base64."""
    try:
        text = path.read_bytes().strip()
        return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except OSError as error:
        raise ValueError(f"the key {path} can't be read: {error.strerror}; paictl apply puts it in place") from error
    except ValueError as error:
        raise ValueError(f"{path} does not hold 32 bytes in base64; paictl apply makes a new one") from error


def name(inception: bytes) -> str:
    """``pai:`` and the base32 of the event's SHA-256, in lower case, without padding."""
    return "pai:" + base64.b32encode(hashlib.sha256(inception).digest()).decode().rstrip("=").lower()


def public_key(inception: bytes) -> Ed25519PublicKey:
    """The key that an inception event begins with."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(json.loads(inception)["keys"][0]))


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        _write(path, _b64(Ed25519PrivateKey.generate().private_bytes_raw()).encode() + b"\n", 0o600)
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes(), validate=False))
    except ValueError as error:
        raise ValueError(f"{path} is not an Ed25519 key; restore it from a backup") from error


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
