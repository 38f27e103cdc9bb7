"""SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side: how a password is shown to be known without being told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["Scram"]

_FEWEST_ROUNDS, _MOST_ROUNDS = 4096, 1_000_000


class Scram:
    """One login. ``proved``: the other side showed that it knows the password, too."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._bare = f"n=,r={base64.b64encode(secrets.token_bytes(18)).decode()}"
        self._expected = b""
        self.proved = False

    def first(self) -> bytes:
        """What the client begins with."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The proof for the server's challenge; raises ``ValueError`` for one that is none."""
        said = dict(part.split("=", 1) for part in challenge.decode().split(","))
        nonce, rounds = said["r"], int(said["i"])
        if not nonce.startswith(self._bare.partition("r=")[2]) or not _FEWEST_ROUNDS <= rounds <= _MOST_ROUNDS:
            raise ValueError("the challenge is not for this login")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(said["s"]), rounds)
        without = f"c=biws,r={nonce}"
        whole = f"{self._bare},{challenge.decode()},{without}".encode()
        key = _mac(salted, b"Client Key")
        signature = _mac(hashlib.sha256(key).digest(), whole)
        self._expected = _mac(_mac(salted, b"Server Key"), whole)
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        return f"{without},p={base64.b64encode(proof).decode()}".encode()

    def check(self, verdict: bytes) -> None:
        """Whether the server knows the password; raises ``ValueError`` when it does not."""
        shown = base64.b64decode(verdict.decode().partition("v=")[2])
        if not self._expected or not hmac.compare_digest(shown, self._expected):
            raise ValueError("the database does not know the password that it asked for")
        self.proved = True


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
