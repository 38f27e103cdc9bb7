"""`key.py DIRECTORY NAME look|make`: a host's own key and certificate; prints the certificate, and whether it was not there.

Run by the role `link` with the runtime's Python, on a host itself and, for its peers, on them. The key never leaves the host.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import secrets
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# It is known by heart, not by a date: it is valid until it is taken away.
_VALID = datetime.timedelta(days=36500)
_SIGNS = {"digital_signature"}
_USES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
    "encipher_only decipher_only"
).split()


def _make(folder: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # Of several certificates of one name, a library might take the wrong one for whoever signed the other.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name[:40]} {secrets.token_hex(8)}")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        # A board without a clock of its own may think that it is long ago.
        .not_valid_before(datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in _SIGNS for use in _USES}), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    _write(folder / "key.pem", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain), 0o400)
    # It comes last: who finds it finds both.
    _write(folder / "certificate.pem", certificate.public_bytes(pem), 0o444)


def _write(path: Path, content: bytes, mode: int) -> None:
    part = path.with_name(f".{path.name}")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    part.rename(path)


def _main(folder: Path, name: str, *, make: bool) -> dict[str, object]:
    if make:
        # The agent's settings are root's alone, whoever comes first.
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "pins").mkdir(mode=0o755, parents=True, exist_ok=True)
    there = folder / "certificate.pem"
    if not folder.is_dir():
        return {"missing": True, "certificate": ""}
    handle = os.open(folder, os.O_RDONLY)
    # One at a time: every peer may ask for it.
    fcntl.flock(handle, fcntl.LOCK_EX)
    missing = not there.exists() or not (folder / "key.pem").exists()
    if missing and make:
        _make(folder, name)
    certificate = there.read_text(encoding="ascii") if there.exists() else ""
    return {"missing": missing, "certificate": certificate}


if __name__ == "__main__":
    os.umask(0o022)
    print(json.dumps(_main(Path(sys.argv[1]), sys.argv[2], make=sys.argv[3] == "make")))  # noqa: T201 - the role reads it
