"""Every folder of examples/ is tried: those that can stand are made to stand, the others say line by line why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from paictl.blueprint.images import PUBLISHED
from paictl.manifest.load import load
from tests.story.home import Home

EXAMPLES = Path(__file__).parents[2] / "examples"
STANDING = sorted(path.name for path in EXAMPLES.iterdir() if path.name != "full")
# The others need a Docker engine: tests/docker makes them stand.
NATIVE = [name for name in STANDING if "driver: native" in (EXAMPLES / name / "agent.yaml").read_text(encoding="utf-8")]


def _home(folder: Path, example: str) -> Home:
    home = Home(folder)
    shutil.copytree(EXAMPLES / example, home.manifest.parent, ignore=shutil.ignore_patterns("*.lock"))
    return home


@pytest.mark.real
@pytest.mark.promise(2)
@pytest.mark.parametrize("example", STANDING)
def test_an_example_applied_twice_changes_nothing_the_second_time(example: str, tmp_path: Path) -> None:
    home = _home(tmp_path, example)
    home.environment["PAICTL_DRIVER"] = "fake"
    home.run("apply", "--yes")
    assert home.json("plan")["steps"] == []


@pytest.mark.real
@pytest.mark.promise(2)
@pytest.mark.parametrize("example", [name for name in NATIVE if name != "quickstart"])
def test_an_example_stands_for_real_and_answers(example: str, tmp_path: Path) -> None:
    home = _home(tmp_path, example)
    (tmp_path / "run").mkdir(mode=0o700)
    try:
        home.run("apply", "--yes")
        assert home.json("plan")["steps"] == []
        assert home.chat("Say hello.").strip()
        assert home.json("verify")["passed"]
        home.run("destroy", "--yes")
        assert home.everything() == []
    finally:
        home.switch_off()


def test_the_servers_images_are_the_published_ones_unless_variables_name_others() -> None:
    def images(**env: str) -> dict[str, str]:
        return {str(name): image for name, image in load([manifest], env=env).agent.spec.images.items()}

    manifest = EXAMPLES / "server" / "agent.yaml"
    assert images() == {name: PUBLISHED[name] for name in ("base", "llama.cpp", "pgvector")}
    assert images(PAICTL_IMAGE_LLAMA_CPP="local/llama:1")["llama.cpp"] == "local/llama:1"


def test_the_full_example_is_valid_and_names_every_line_that_no_driver_has_yet(tmp_path: Path) -> None:
    home = _home(tmp_path, "full")
    home.environment |= {"ANTHROPIC_API_KEY": "made-up"}
    home.run("validate")
    refused = home.run("plan", code=4).stderr
    for what in ("files are", "tools are", "federation is", "key rotation is", "budget in money", "speech"):
        assert f"{what}" in refused
    assert "agent.yaml:" in refused


@pytest.mark.real
def test_a_plan_tells_what_is_still_to_be_downloaded_and_nothing_else(tmp_path: Path) -> None:
    home = _home(tmp_path, "quickstart")
    home.environment["PAICTL_DRIVER"] = "fake"
    home.run("models", "pull")
    assert sum(step["data"]["download_bytes"] for step in home.json("plan")["steps"] if step["data"]) == 0
    home.environment["XDG_CACHE_HOME"] = str(tmp_path / "empty")
    fresh = home.json("plan")
    assert sum(step["data"]["download_bytes"] for step in fresh["steps"] if step["data"]) > 100_000_000
