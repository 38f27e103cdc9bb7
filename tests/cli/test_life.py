"""From an empty folder to a running agent and back, verb by verb, on the fake driver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.fake import World as FakeWorld
from tests.cli.conftest import World


def fake_target(world: World) -> FakeWorld:
    return FakeWorld(world.state / "atlas" / "here" / "fake" / "world.json")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_init_writes_a_manifest_that_is_valid_and_can_be_planned(world: World) -> None:
    world.manifest.unlink()
    done = world.run("init", "--name", "atlas", "--owner", "alice")
    assert done.returncode == 0, done.stderr
    assert "paictl apply" in done.stdout
    valid = world.document("validate")
    assert (valid["agent"], valid["driver"]) == ("atlas", "native")


def test_init_never_writes_over_a_manifest(world: World) -> None:
    before = world.manifest.read_bytes()
    done = world.run("init")
    assert done.returncode == 4
    assert "exists already" in done.stderr
    assert world.manifest.read_bytes() == before


@pytest.mark.promise(1)
def test_plan_writes_nothing_and_says_the_same_twice(world: World) -> None:
    before = everything(world.root)
    first = world.run("plan", "-o", "json")
    assert first.returncode == 0, first.stderr
    assert world.run("plan", "-o", "json").stdout == first.stdout
    assert everything(world.root) == before
    assert world.run("apply", "-y").returncode == 0
    world.edit("Be brief.", "Be kind.")
    before = everything(world.root)
    assert json.loads(world.run("plan", "-o", "json").stdout)["steps"]
    assert everything(world.root) == before


@pytest.mark.promise(2)
def test_after_apply_the_next_plan_is_empty_and_a_second_apply_changes_nothing(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    assert world.document("plan")["steps"] == []
    assert world.run("plan", "--detailed-exitcode").returncode == 0
    before = {path: text for path, text in everything(world.root).items() if not path.endswith("lock")}
    again = world.run("apply")  # nothing to consent to, so nobody is asked
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert {path: text for path, text in everything(world.root).items() if not path.endswith("lock")} == before


def test_a_whole_life(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    status = world.document("status")
    assert status["ready"] is True
    assert {service["name"] for service in status["services"]} == {"agent", "gateway"}
    assert world.run("drift").returncode == 0
    world.edit("Be brief.", "Be kind.")
    assert world.run("plan", "--detailed-exitcode").returncode == 3
    assert world.run("apply", "-y").returncode == 0
    back = world.run("rollback", "-y")
    assert back.returncode == 0, back.stderr
    assert "agent.yaml was not changed" in back.stdout
    history = world.document("history")["releases"]
    assert [(one["number"], one["verb"], one["current"]) for one in history] == [
        (3, "rollback", True),
        (2, "apply", False),
        (1, "apply", False),
    ]
    gone = world.run("destroy", "-y")
    assert gone.returncode == 0, gone.stderr
    kept = {row["address"]: row["state"] for row in world.document("status")["others"]}
    assert kept["volume/gateway"] == "kept"
    assert world.run("destroy", "-y", "--delete-data", "volume/gateway").returncode == 0
    assert "volume/gateway" not in {row["address"] for row in world.document("status")["others"]}


def test_what_was_edited_by_hand_is_drift_and_exits_3(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    target = fake_target(world)
    (agent,) = [thing for thing in target.things.values() if thing.address == "service/agent"]
    target.put(replace(agent, running=False), "stopped by hand")
    drifted = world.run("drift", "-o", "json")
    assert drifted.returncode == 3, drifted.stderr
    assert [step["address"] for step in json.loads(drifted.stdout)["steps"]] == ["service/agent"]
    assert world.run("apply", "-y").returncode == 0
    assert world.run("drift").returncode == 0


def test_a_kept_plan_is_carried_out_without_a_question(world: World) -> None:
    assert world.run("plan", "--out", "plan.json").returncode == 0
    done = world.run("apply", "--plan", "plan.json")
    assert done.returncode == 0, done.stderr
    assert world.document("plan")["steps"] == []


@pytest.mark.promise(5)
def test_a_kept_plan_that_moved_is_refused_before_the_first_write(world: World) -> None:
    assert world.run("plan", "--out", "plan.json").returncode == 0
    world.edit("Be brief.", "Be kind.")
    done = world.run("apply", "--plan", "plan.json")
    assert done.returncode == 4
    assert "not the plan of now" in done.stderr
    assert world.document("status")["release"] == 0


def test_a_plan_for_another_agent_is_refused(world: World) -> None:
    assert world.run("plan", "--out", "plan.json").returncode == 0
    world.edit("name: atlas", "name: bela")
    done = world.run("apply", "--plan", "plan.json")
    assert done.returncode == 4
    assert "a plan for atlas on here, not for bela on here" in done.stderr


@pytest.mark.promise(3)
def test_the_runtime_stays_what_the_lock_pins(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    lock = world.folder / "agent.lock"
    pinned = "digest: " + lock.read_text().partition("digest: ")[2].split()[0]
    older = "digest: " + "f" * 64
    lock.write_text(lock.read_text().replace(pinned, older))
    assert world.run("apply", "-y").returncode == 0
    assert older in lock.read_text()
    assert world.run("lock", "--check").returncode == 3
    assert older in lock.read_text()
    assert world.run("lock").returncode == 0
    assert pinned in lock.read_text()


def test_render_writes_files_and_never_over_others(world: World) -> None:
    done = world.run("render", "--driver", "docker", "-o", "out")
    assert done.returncode == 0, done.stderr
    compose = world.folder / "out" / "compose.yaml"
    assert compose.exists()
    assert world.run("render", "--driver", "docker", "-o", "out").returncode == 0  # the same again is no harm
    compose.write_text("mine")
    assert world.run("render", "--driver", "docker", "-o", "out").returncode == 4
    assert compose.read_text() == "mine"
    assert world.run("render", "--driver", "docker", "-o", "out", "--force").returncode == 0


def test_a_quiet_render_says_nothing_of_the_files_that_it_wrote(world: World) -> None:
    done = world.run("render", "--driver", "docker", "--quiet", "--out", "out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (world.folder / "out" / "compose.yaml").exists()
    # What a program asked for is the result, and printed files are.
    assert json.loads(world.run("render", "--driver", "docker", "-q", "--output", "json", "-o", "out").stdout)["files"]
    assert "compose.yaml" in world.run("render", "--driver", "docker", "-q").stdout


def test_secrets_check_tells_where_and_never_what(world: World) -> None:
    secrets = "  secrets:\n    zotero: {from: env, name: ZOTERO_KEY}\n    gone: {from: file, file: nowhere.txt}\n"
    world.manifest.write_text(world.manifest.read_text() + secrets)
    done = world.run("secrets", "check", "-o", "json", ZOTERO_KEY="canary-7f3a91")
    assert done.returncode == 1
    rows = {row["name"]: row for row in json.loads(done.stdout)["secrets"]}
    assert rows["zotero"]["ok"] is True
    assert rows["gone"]["ok"] is False
    assert "nowhere.txt" in rows["gone"]["problem"]
    assert "canary-7f3a91" not in done.stdout + done.stderr


def test_adopt_lists_what_stands_and_takes_only_what_is_named(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    target = fake_target(world)
    (network,) = [thing for thing in target.things.values() if thing.address == "network/atlas"]
    target.put(replace(network, owner="foreign"), "relabelled by hand")
    assert [row["address"] for row in world.document("adopt")["adoptable"]] == ["network/atlas"]
    assert world.run("apply", "-y").returncode == 4
    assert world.run("adopt", "volume/agent").returncode == 2
    assert world.run("adopt", "network/atlas").returncode == 4  # nobody is there to consent
    assert world.run("adopt", "network/atlas", "-y").returncode == 0
    assert world.run("apply", "-y").returncode == 0


def test_doctor_finds_names_and_mends(world: World) -> None:
    world.state.mkdir(parents=True, mode=0o755)
    (world.state / "atlas").mkdir(mode=0o755)
    found = world.run("doctor", "-o", "json")
    assert found.returncode == 1
    ids = {one["id"]: one for one in json.loads(found.stdout)["findings"]}
    assert "state-open" in ids
    assert ids["state-open"]["command"].startswith("chmod 700 ")
    assert world.run("doctor", "--fix").returncode == 0
    assert (world.state / "atlas").stat().st_mode & 0o777 == 0o700
    assert "state-open" not in world.run("doctor", "-o", "json").stdout


def test_config_prints_a_manifest_that_means_the_same(world: World) -> None:
    before = world.document("validate")["digest"]
    printed = world.run("config")
    assert printed.returncode == 0
    world.manifest.write_text(printed.stdout)
    assert world.document("validate")["digest"] == before
    origins = world.run("config", "--origins").stdout
    assert "# agent.yaml:" in origins


def test_logs_exec_and_chat_say_what_there_is_instead(world: World) -> None:
    world.edit("  models:", "  gateway: {port: 9}\n  models:")  # nobody listens there
    assert world.run("apply", "-y").returncode == 0
    assert world.run("logs", "agent").returncode == 0
    wrong = world.run("logs", "agnet")
    assert wrong.returncode == 2
    assert "agent, gateway" in wrong.stderr or "gateway, agent" in wrong.stderr
    assert world.run("exec", "agent", "--", "true").returncode == 4
    silent = world.run("chat", "hello")
    assert silent.returncode == 1
    assert "127.0.0.1:9" in silent.stderr
