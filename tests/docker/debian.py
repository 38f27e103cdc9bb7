"""What the tests take from Debian: a small system as a tar file, and single programs. Kept in the cache; nothing is installed.

Used by ``stock`` and ``compose``. Mirrors are those of this machine, signatures are checked as apt always does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.docker.engine import cache

__all__ = ["RELEASE", "alone", "program", "run_quietly", "system", "system_inputs"]

RELEASE = "bookworm"
"""What the images are made of, whatever this machine runs."""

_KEPT_SECONDS = 30 * 86_400
_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Authorities that this machine alone trusts, such as a company's own.
_LOCAL = Path("/usr/local/share/ca-certificates")
_LEAN = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--aptopt=Acquire::Languages "none"',
)
_TRUST = (
    f"--customize-hook=if [ -d {_LOCAL} ]; then mkdir -p $1{_LOCAL} && cp -r {_LOCAL}/. $1{_LOCAL}/; fi",
    '--customize-hook=chroot "$1" update-ca-certificates >/dev/null',
    f"--customize-hook=upload {_BUNDLE} {_BUNDLE}",
)


def system_inputs(packages: Sequence[str], hooks: Sequence[str]) -> str:
    """What decides about a system's content, but for what Debian changes in a stable release."""
    told = "\0".join([RELEASE, *packages, *hooks, *_LEAN, *_TRUST]).encode()
    return hashlib.sha256(told + (_BUNDLE.read_bytes() if _BUNDLE.exists() else b"")).hexdigest()[:12]


def system(packages: Sequence[str], hooks: Sequence[str] = ()) -> Path:
    """A minimal Debian with these packages and this machine's certificates, as a tar file. ``hooks`` are shell; ``$1`` is its root."""
    path = cache() / f"{RELEASE}-{system_inputs(packages, hooks)}.tar"
    with alone("debian"):
        if not path.exists():
            part = path.with_name(f"part-{path.name}")
            customize = [*(_TRUST if _BUNDLE.exists() else ()), *(f"--customize-hook={hook}" for hook in hooks)]
            include = f"--include={','.join(('ca-certificates', *packages))}"
            command = ["mmdebstrap", "--quiet", "--variant=minbase", "--components=main", include, *_LEAN, *customize]
            run_quietly([*command, RELEASE, str(part), _source(RELEASE)])
            part.rename(path)
            _forget_old()
        path.touch()
    return path


def _forget_old() -> None:
    """Those of earlier inputs, which nobody has asked for in a long time."""
    for old in cache().glob(f"{RELEASE}-*.tar"):
        if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            old.unlink()


def program(package: str, release: str, path: str) -> Path:
    """One file of a Debian package that needs nothing else, unpacked below the cache. The release is not added to this machine."""
    with alone("debian"):
        found = sorted((cache() / "programs").glob(f"{package}_{release}_*/{path}"))
        if not found:
            _unpack(package, release)
            found = sorted((cache() / "programs").glob(f"{package}_{release}_*/{path}"))
    return found[-1]


def _unpack(package: str, release: str) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        root = Path(folder)
        for name in ("lists/partial", "archives/partial", "download"):
            (root / name).mkdir(parents=True)
        (root / "sources.list").write_text(f"{_source(release)}\n", encoding="utf-8")
        private = {
            "Dir::Etc::SourceList": root / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": root / "lists",
            "Dir::Cache": root,
            "Dir::Cache::Archives": root / "archives",
            # The cache may lie where no other user gets to. Signatures are checked all the same.
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::Languages": "none",
        }
        options = [part for key, value in private.items() for part in ("-o", f"{key}={value}")]
        run_quietly(["apt-get", "-qq", *options, "update"])
        run_quietly(["apt-get", "-qq", *options, "download", package], directory=root / "download")
        (fetched,) = (root / "download").glob("*.deb")
        version = fetched.name.split("_")[1]
        run_quietly(["dpkg-deb", "--extract", str(fetched), str(root / "content")])
        target = cache() / "programs" / f"{package}_{release}_{version}"
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        (root / "content").rename(target)


def _source(release: str) -> str:
    """One line of a sources list: the release, from the mirror that this machine uses for Debian."""
    return f"deb [signed-by={_KEYRING}] {_mirror()} {release} main"


def _mirror() -> str:
    # apt reads both of its formats, and says it in one.
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    mirrors = (address.rstrip("/") for address in told)
    return next((address for address in mirrors if address.endswith("/debian")), _MIRROR)


@contextmanager
def alone(what: str) -> Iterator[None]:
    """One process at a time makes these things; the others find them made."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{what}.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_quietly(command: Sequence[str], directory: Path | None = None) -> None:
    """Run it; what it says is told only when it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
