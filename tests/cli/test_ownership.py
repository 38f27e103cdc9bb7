"""Two folders, one agent's name: the second is told before it takes anything, and whoever only moves a folder isn't asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.cli.origin import source_of
from tests.cli.conftest import World


@pytest.fixture
def second(world: World) -> World:
    """Another folder with a manifest of the same name, and one state for both."""
    assert world.run("apply", "-y").returncode == 0
    return _elsewhere(world, "second")


def _elsewhere(world: World, name: str) -> World:
    class Elsewhere(World):
        @property
        def folder(self) -> Path:
            return self.root / name

    made = Elsewhere(world.root, world.env)
    made.folder.mkdir()
    made.manifest.write_text(world.manifest.read_text())
    return made


@pytest.mark.promise(13)
def test_the_second_folder_is_refused_until_it_says_that_it_takes_over(world: World, second: World) -> None:
    second.edit("Be brief.", "Be kind.")
    for verb in ("apply", "destroy"):
        done = second.run(verb, "-y")
        assert done.returncode == 4
        assert f"atlas on here is applied from {world.manifest} on " in done.stderr
        assert str(second.manifest) in done.stderr
    assert world.document("plan")["steps"] == []
    assert second.run("apply", "-y", "--take-over").returncode == 0
    assert world.run("apply", "-y").returncode == 4


def test_plan_shows_what_would_be_done_and_that_it_would_be_refused(world: World, second: World) -> None:
    second.edit("Be brief.", "Be kind.")
    done = second.run("plan", "--out", "kept.json")
    assert done.returncode == 0
    assert "service/agent" in done.stdout
    assert f"warning: apply would be refused: atlas on here is applied from {world.manifest}" in done.stderr
    assert "--take-over" in done.stderr
    (refusal,) = json.loads((second.folder / "kept.json").read_text())["refusals"]
    assert refusal["code"] == "refused"
    assert second.run("apply", "--plan", "kept.json").returncode == 4


def test_a_preflight_that_fails_is_a_warning_of_the_plan(world: World) -> None:
    world.fault(preflight="port 8700 on 127.0.0.1 is taken by nginx (pid 7)")
    done = world.run("plan", "--detailed-exitcode")
    assert done.returncode == 3
    assert "warning: apply would be refused: port 8700 on 127.0.0.1 is taken by nginx (pid 7)" in done.stderr
    assert [one["summary"] for one in world.document("plan")["refusals"]] == [
        "port 8700 on 127.0.0.1 is taken by nginx (pid 7)"
    ]
    assert not world.state.joinpath("atlas", "here", "state.json").exists()


def test_a_moved_folder_goes_on(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    moved = _elsewhere(world, "moved")
    world.folder.rename(world.root / "gone")
    (world.root / "gone" / "agent.yaml").unlink()
    done = moved.run("apply", "-y")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("git@github.com:alice/agents.git", "github.com/alice/agents"),
        ("https://alice:t0ken@github.com/alice/agents.git", "github.com/alice/agents"),
        ("ssh://git@example.org:2222/alice/agents", "example.org/alice/agents"),
        ("/srv/git/agents.git", "srv/git/agents"),
    ],
)
def test_a_manifest_is_known_by_its_place_in_its_repository_and_no_credential_is_kept(
    tmp_path: Path, url: str, place: str
) -> None:
    git = tmp_path / "clone" / ".git"
    git.mkdir(parents=True)
    (git / "config").write_text(
        '[core]\n\tbare = false\n[remote "fork"]\n\turl = x\n'
        f'[remote "origin"]\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\turl = {url}\n[branch "main"]\n\tremote = y\n'
    )
    home = tmp_path / "clone" / "home"
    home.mkdir()
    found = source_of(str(home / "agent.yaml"))
    assert found is not None
    assert found.repository == f"{place}#home/agent.yaml"
    worktree = tmp_path / "worktree"
    (git / "worktrees" / "w").mkdir(parents=True)
    (git / "worktrees" / "w" / "commondir").write_text("../..\n")
    (worktree / "home").mkdir(parents=True)
    (worktree / ".git").write_text(f"gitdir: {git}/worktrees/w\n")
    there = source_of(str(worktree / "home" / "agent.yaml"))
    assert there is not None
    assert there.is_same(found)
    assert there != replace(found)


def test_outside_of_a_repository_and_from_standard_input_there_is_no_place(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    found = source_of(str(tmp_path / "agent.yaml"))
    assert found is not None
    assert found.repository == ""
    assert source_of("-") is None
