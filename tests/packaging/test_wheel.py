"""What a person gets from ``pip install paictl``: a built wheel, in an environment of its own, far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``paictl`` executable of an environment that knows nothing of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment)
    # The checkout's own pins: what is tested is the wheel, not what the index has newest today.
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    _run(*pip, "--constraint", str(_pins(folder)), str(wheel), cwd=folder)
    return environment / "bin" / "paictl"


def _pins(folder: Path) -> Path:
    """requirements/dev.txt without its hashes: pip takes no hashes for a constraint beside a local file."""
    lines = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8").splitlines()
    pins = folder / "pins.txt"
    pins.write_text("\n".join(line.rstrip(" \\") for line in lines if line[:1].isalnum()), encoding="utf-8")
    return pins


def _run(*command: str, cwd: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PAICTL"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=kept)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_runs_and_finds_everything_that_is_published(installed: Path, tmp_path: Path) -> None:
    paictl = str(installed)
    assert _run(paictl, "--version", cwd=tmp_path).strip().endswith("0.1.0")
    _run(paictl, "init", cwd=tmp_path)
    _run(paictl, "validate", cwd=tmp_path)
    _run(paictl, "explain", "spec.memory", cwd=tmp_path)
    assert '"$schema"' in _run(paictl, "schema", cwd=tmp_path)
    source = _run(str(installed.with_name("python")), "-c", "import paictl; print(paictl.__file__)", cwd=tmp_path)
    assert "site-packages" in source


def test_profiles_templates_and_roles_travel_with_it(installed: Path, tmp_path: Path) -> None:
    asked = "from paictl.assets import asset; [print(asset(name)) for name in ('profiles', 'templates', 'roles', 'schemas')]"
    found = _run(str(installed.with_name("python")), "-c", asked, cwd=tmp_path).split()
    assert len(found) == 4
    assert all("_data" in path and any(Path(path).iterdir()) for path in found)
