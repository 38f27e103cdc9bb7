from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import paictl
from paictl.blueprint.runtime import runtime_code

PACKAGE = Path(paictl.__file__).parent


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


def test_it_holds_every_module_that_its_modules_import_and_no_other() -> None:
    code = runtime_code()
    wanted = {file.relative_to(PACKAGE).as_posix() for file in (PACKAGE / "runtime").rglob("*.py")} | {"__init__.py"}
    for module in {name for file in code.values() for name in imported(file) if name.startswith("paictl.")}:
        place = Path(*module.split(".")[1:])
        for path in (place.with_suffix(".py"), *(folder / "__init__.py" for folder in (place, *place.parents))):
            wanted |= {path.as_posix()} if (PACKAGE / path).is_file() else set()
    assert set(code) == wanted


def test_nothing_of_the_reconciler_goes_to_the_target() -> None:
    folders = {name.partition("/")[0] for name in runtime_code() if "/" in name}
    assert folders == {"manifest", "runtime"}
