"""What is in flight between gateways, encrypted: the database carries it, and can't read it."""

from __future__ import annotations

import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Seal"]

_NONCE = 12


class Seal:
    """AES-256-GCM with a key that every gateway derives from the identity; ``about`` binds a text to its place."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, value: dict[str, Any], about: str) -> bytes:
        """The sealed form of a JSON object."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, json.dumps(value).encode(), about.encode())

    def open(self, sealed: bytes, about: str) -> dict[str, Any]:
        """What was sealed; raises ``ValueError`` when it was not, or for another place."""
        try:
            text = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except InvalidTag as error:
            raise ValueError("what the database holds was not sealed by a gateway of this agent") from error
        return dict(json.loads(text))
