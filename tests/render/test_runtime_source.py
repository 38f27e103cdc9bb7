from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from paictl.render.source import runtime_source
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
