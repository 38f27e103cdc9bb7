"""`key.py FILE`: 32 random bytes, which is what a private key of WireGuard is, as paictl writes its secrets. Never overwrites."""

import base64
import os
import sys

part = f"{sys.argv[1]}.part"
if os.path.exists(part):
    os.unlink(part)
with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400), "wb") as file:
    file.write(base64.urlsafe_b64encode(os.urandom(32)))
    os.fsync(file.fileno())
os.link(part, sys.argv[1])
os.unlink(part)
