"""What a host without a network is brought for its Python."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import venv
from importlib import metadata
from pathlib import Path

import pytest

from paictl.assets import asset
from paictl.blueprint.runtime import requirements
from paictl.blueprint.wheels import Interpreter
from paictl.drivers.ansible import wheels
from paictl.errors import Refused
from paictl.events import ignore


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_wheel(cache: Path) -> Path:
    """As if all of the runtime's packages had been downloaded: pip's own stands for them, which are many."""
    key = hashlib.sha256(requirements().read_bytes()).hexdigest()[:16]
    folder = cache / "paictl" / "wheels" / f"{key}-cp311-x86_64-2.36"
    folder.mkdir(parents=True)
    return Path(shutil.copy(wheels.pip_wheel(), folder))


def test_the_pip_that_is_brought_is_the_one_that_is_here_and_is_a_wheel_like_any(tmp_path: Path) -> None:
    wheel = wheels.pip_wheel()
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    installing = [str(python), f"{wheel}/pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(installing, check=True)
    told = subprocess.run([str(python), "-m", "pip", "--version"], check=True, capture_output=True, text=True).stdout
    assert told.split()[1] == metadata.version("pip")


def test_the_same_wheels_are_the_same_bytes_whenever_they_are_packed(one_wheel: Path) -> None:
    here = Interpreter("3.11.2", "x86_64", 36)
    archive, digest = wheels.bundle(here, ignore, offline=True)
    archive.unlink()
    wheels.pip_wheel().unlink()
    assert wheels.bundle(here, ignore, offline=True) == (archive, digest)
    assert one_wheel.exists()


def test_a_bundle_is_what_the_role_unpacks(one_wheel: Path, tmp_path: Path) -> None:
    archive, _ = wheels.bundle(Interpreter("3.11.2", "x86_64", 36), ignore, offline=True)
    with tarfile.open(archive) as packed:
        assert one_wheel.name in packed.getnames()
    code = tmp_path / "code"
    code.mkdir()
    (code / "requirements.txt").write_text("", encoding="utf-8")
    program = asset("roles", "runtime", "files", "dependencies.py").read_text(encoding="utf-8")
    subprocess.run([sys.executable, "-c", program, str(code), str(archive)], check=True)
    assert (code / "venv" / "bin" / "pip").exists()
    # A host's disk is not left full of what it does not need any more.
    assert not archive.exists()
    assert not (code / "wheels").exists()


def test_without_a_network_here_nothing_can_be_brought_and_the_way_out_is_said() -> None:
    with pytest.raises(Refused, match=r"Python 3\.11 on aarch64 are not on this machine"):
        wheels.bundle(Interpreter("3.11.2", "aarch64", 36), ignore, offline=True)
