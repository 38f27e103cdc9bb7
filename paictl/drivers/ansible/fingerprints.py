"""How people compare a host's key with what the host itself says. Told by the verbs that pin, and where a key is another one."""

from __future__ import annotations

import base64
import binascii
import hashlib

from paictl.errors import PaictlError

__all__ = ["fingerprint"]


def fingerprint(key: str) -> str:
    """``SHA256:…``, as ``ssh-keygen -lf`` prints it on the host; of a key as in known_hosts: kind and base64."""
    try:
        blob = base64.b64decode(key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        raise PaictlError(
            f"{key!r} is no host key", help="agent.lock is written by paictl alone: restore it, or delete it."
        ) from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
