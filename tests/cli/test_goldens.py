"""Texts that people read, word for word, as data: a contributor adds a file to ``goldens/``.

Each file says which ``args`` are given and what comes: the ``exit`` code, ``stdout`` and ``stderr`` (empty when left out).
``edit`` changes the manifest before (pairs of old and new text), ``before`` runs other verbs, ``env`` and ``columns`` set the
scene. ``PAICTL_WRITE_GOLDENS=1`` writes what came into the files, to be read and judged in the diff.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import World

FOLDER = Path(__file__).with_name("goldens")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_text_is_the_golden_one(world: World, path: Path) -> None:
    case: dict[str, Any] = tomllib.loads(path.read_text())
    for old, new in case.get("edit", ()):
        world.edit(old, new)
    for args in case.get("before", ()):
        assert world.run(*args).returncode == 0
    env = {**case.get("env", {}), **({"COLUMNS": str(case["columns"])} if "columns" in case else {})}
    done = world.run(*case["args"], **env)
    came = {"stdout": settled(world, done.stdout), "stderr": settled(world, done.stderr)}
    if os.environ.get("PAICTL_WRITE_GOLDENS"):
        write(path, done.returncode, came)
        return
    assert done.returncode == case["exit"], done.stderr
    assert came == {key: case.get(key, "") for key in came}
    if "columns" in case:
        assert max(map(len, (done.stdout + done.stderr).splitlines())) <= case["columns"]


def settled(world: World, text: str) -> str:
    """What differs from run to run, by its name."""
    text = text.replace(str(world.root), "ROOT")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE TIME", text)
    return re.sub(r"\S+@\S+", "WHO", text)


def write(path: Path, code: int, came: dict[str, str]) -> None:
    kept = re.split(r"(?m)^exit =", path.read_text())[0]
    texts = "".join(f"{key} = '''\n{text}'''\n" for key, text in came.items() if text)
    path.write_text(f"{kept}exit = {code}\n{texts}")
