from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.assets import asset
from paictl.blueprint import runtime as pins
from paictl.blueprint.runtime import runtime_pin
from paictl.render import containers
from paictl.render.containers import image, image_context
from paictl.render.source import runtime_source
from tests.render.blueprints import QUICKSTART
from tests.render.reading import written

_IMPORTS_EVERYTHING = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
for path in sorted(root.glob("paictl/runtime/**/*.py")):
    if path.name != "__main__.py":
        importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
strangers = [name for name, module in sys.modules.items()
             if name.split(".")[0] == "paictl" and not str(module.__file__).startswith(str(root))]
assert not strangers, strangers
"""


def test_every_module_of_the_runtime_imports_from_what_is_rendered_alone(tmp_path: Path) -> None:
    folder = written(runtime_source(), tmp_path) / "source"
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS_EVERYTHING, str(folder)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in image_context(runtime_pin(), []) if not name.startswith("source/")])
def test_every_file_that_an_image_is_built_from_is_in_the_pin(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, asked = (
        runtime_pin().digest,
        {"Dockerfile": "Dockerfile.j2", "requirements.txt": "runtime.txt"}.get(name, name),
    )
    (tmp_path / asked).write_text("altered")
    monkeypatch.setattr(pins, "asset", lambda *parts: tmp_path / asked if parts[-1] == asked else asset(*parts))
    runtime_pin.cache_clear()
    try:
        assert runtime_pin().digest != before
    finally:
        runtime_pin.cache_clear()


@pytest.mark.promise(3)
def test_a_newer_paictl_means_the_same_image_as_long_as_the_lock_keeps_the_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image(QUICKSTART)
    monkeypatch.setattr(containers, "runtime_source", lambda: {"source/paictl/runtime/newer.py": "newer = True\n"})
    assert image(QUICKSTART) == before
    assert image(replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, digest="0" * 64))) != before
    assert image(replace(QUICKSTART, base="registry.example/base:2")) != before
