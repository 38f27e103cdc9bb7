"""Images in the lock: what holds, what is asked for anew, and when nothing may be asked. The engine itself: tests/docker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.cli.pinning import locked_images
from paictl.cli.rules import Rules
from paictl.errors import ExitCode, Refused
from paictl.events import ignore
from paictl.manifest.lock import LockedImage
from tests.blueprint.manifests import CHAT, RESOLVED, manifest

SPEC = """\
  models: {chat: {task: chat, source: "file:///m.gguf"}}
  images: {base: local/base:1, llama.cpp: local/llama:1}
"""
EXACT = {
    "base": LockedImage("sha256:" + "b" * 64, "local/base:1"),
    "llama.cpp": LockedImage("local/llama@sha256:" + "c" * 64, "local/llama:1"),
}
RULES = Rules(locked=True, images=True, driver="docker")


def needed(folder: Path, known: dict[str, LockedImage], rules: Rules, spec: str = SPEC) -> dict[str, LockedImage]:
    asked = manifest(folder, spec)
    blueprint = compile_blueprint(asked, replace(RESOLVED, models={"chat": CHAT}))
    return locked_images(asked, blueprint, known, rules, ignore)


def test_what_the_lock_says_holds_without_an_engine(tmp_path: Path) -> None:
    assert needed(tmp_path, EXACT, RULES) == EXACT


def test_an_image_that_nothing_runs_leaves_the_lock(tmp_path: Path) -> None:
    assert needed(tmp_path, EXACT | {"chroma": LockedImage("sha256:1", "chroma")}, RULES) == EXACT


def test_another_reference_in_the_manifest_is_another_intent(tmp_path: Path) -> None:
    moved = SPEC.replace("local/llama:1", "local/llama:2")
    with pytest.raises(Refused, match=r"does not say which image llama\.cpp is") as raised:
        needed(tmp_path, EXACT, RULES, moved)
    assert raised.value.exit_code is ExitCode.REFUSED


def test_files_are_rendered_without_asking_an_engine(tmp_path: Path) -> None:
    assert needed(tmp_path, {}, Rules(driver="docker")) == {}
    assert needed(tmp_path, {"base": EXACT["base"]}, Rules(driver="docker")) == {"base": EXACT["base"]}


def test_a_new_lock_takes_nothing_from_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"base, llama\.cpp"):
        needed(tmp_path, EXACT, replace(RULES, fresh=True))
