"""What a person changes by hand shows, and making it again mends it; what isn't ours is told apart."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.native.supervision import _Control
from paictl.drivers.native.units import unit_path
from paictl.engine.driver import Holder
from paictl.engine.model import Address
from paictl.errors import LockHeld, PaictlError, Refused, Unreachable
from tests.drivers.native.conftest import World
from tests.ports import free_port


@pytest.fixture
def standing(world: World) -> World:
    world.stand_up()
    return world


def mended(world: World) -> bool:
    world.stand_up()
    return world.differences() == []


def test_an_edited_configuration_shows_its_fields_and_is_written_again(standing: World) -> None:
    path = standing.layout.root / "config/inner/inner.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "say": "by hand"}))
    observed = standing.observed("file/config/inner/inner.json")
    assert observed.spec["content"] == {**content, "say": "by hand"}
    assert standing.differences() == ["file/config/inner/inner.json"]
    assert mended(standing)


def test_a_service_that_restarted_with_an_edited_configuration_is_restarted_with_the_right_one(standing: World) -> None:
    path = standing.layout.root / "config/inner/inner.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "say": "by hand"}))
    os.utime(path, (1, 1))
    before = standing.pid("inner")
    assert standing.differences() == ["file/config/inner/inner.json", "service/inner"]
    assert mended(standing)
    assert standing.pid("inner") != before


@pytest.mark.parametrize("file", ["supervisor/services/inner.conf", "supervisor/rooms/inner.json"])
def test_an_edited_file_of_a_service_shows_and_is_mended(standing: World, file: str) -> None:
    path = standing.layout.root / file
    path.write_text(path.read_text().replace("inner", "inn"))
    assert standing.differences() == ["service/inner"]
    assert mended(standing)


def test_a_supervisor_with_an_edited_file_shows_and_is_mended(standing: World) -> None:
    path = standing.layout.supervisor_config
    path.write_text(path.read_text() + "; by hand\n")
    assert standing.differences() == ["supervisor/main"]
    assert mended(standing)


def test_a_service_stopped_by_hand_shows_and_runs_again(standing: World) -> None:
    with _Control(standing.layout) as control:
        control("stopProcess", "inner")
    observed = standing.observed("service/inner")
    assert (observed.health.state, observed.health.detail) == ("unhealthy", "it was stopped")
    assert mended(standing)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("config/door/door.json", "file/config/door/door.json"),
        ("secrets/token", "secret/token"),
        ("supervisor/services/room.conf", "service/room"),
    ],
)
def test_a_deleted_file_shows_and_is_made_again(standing: World, path: str, address: str) -> None:
    (standing.layout.root / path).unlink()
    assert address in standing.differences()
    assert mended(standing)


def test_a_runtime_that_somebody_damaged_is_put_back(standing: World) -> None:
    (standing.layout.venv(standing.blueprint.runtime.digest) / "bin" / "python").unlink()
    assert "venv/runtime" in standing.differences()
    assert mended(standing)


def test_opened_permissions_show_and_are_closed_again(standing: World) -> None:
    for path in (standing.layout.root, standing.layout.root / "data" / "inner"):
        path.chmod(0o755)
    assert standing.differences() == ["directory/home", "volume/inner"]
    assert mended(standing)


@pytest.mark.promise(23)
def test_secrets_are_private_files_on_tmpfs_and_their_values_are_nowhere_else(standing: World) -> None:
    canary = standing.secrets["declared"]
    folder = standing.layout.secrets.resolve()
    assert {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {
        "token": 0o400,
        "declared": 0o400,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kind = subprocess.run(["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=True)
    assert kind.stdout.strip() in {"tmpfs", "ramfs"}
    assert (folder / "declared").read_bytes() == canary
    holders = [
        path
        for path in standing.layout.root.rglob("*")
        if path.is_file() and "secrets" not in path.parts and "venv" not in path.parts and canary in path.read_bytes()
    ]
    assert holders == []
    told = repr(standing.driver.observe(standing.scope)) + repr(standing.resources()) + repr(standing.events)
    assert canary.decode() not in told


def test_an_altered_secret_shows_without_its_value(standing: World) -> None:
    path = standing.layout.secrets / "declared"
    path.unlink()
    path.write_bytes(b"another value")
    observed = standing.observed("secret/declared")
    assert observed.spec["fingerprint"] == "altered"
    assert mended(standing)
    assert path.read_bytes() == standing.secrets["declared"]


def test_a_rotated_secret_is_written_and_restarts_who_reads_it(standing: World) -> None:
    before = {name: standing.pid(name) for name in ("door", "inner")}
    standing.secrets["declared"] = b"the next value"
    rotated = tuple(
        replace(one, fingerprint="f2") if one.name == "declared" else one for one in standing.blueprint.secrets
    )
    standing.blueprint = replace(standing.blueprint, secrets=rotated)
    assert standing.differences() == ["secret/declared", "service/door"]
    assert mended(standing)
    assert (standing.layout.secrets / "declared").read_bytes() == b"the next value"
    assert standing.pid("door") != before["door"]
    assert standing.pid("inner") == before["inner"]


def test_a_generated_secret_is_made_once(standing: World) -> None:
    token = (standing.layout.secrets / "token").read_bytes()
    assert len(token) == 43
    (standing.layout.keys / "token").unlink()
    assert standing.differences() == ["secret/token"]
    assert mended(standing)
    assert (standing.layout.keys / "token").read_bytes() == token


def test_a_new_runtime_is_taken_into_use_and_the_old_one_goes_when_its_users_have_moved(standing: World) -> None:
    from paictl.drivers.native.disk import clone, write_json
    from paictl.drivers.native.venvs import cached

    old, new = standing.blueprint.runtime.digest, "beef" * 16
    if not cached(new).exists():
        clone(cached(old), cached(new))
        (cached(new) / "paictl.json").unlink()
        write_json(cached(new) / "paictl.json", {"digest": new})
    standing.blueprint = replace(standing.blueprint, runtime=replace(standing.blueprint.runtime, digest=new))
    steps = [str(step.id).partition("@")[0] for step in standing.reconciler().plan(standing.desired).steps]
    assert steps[0] == "create:venv/runtime"
    assert steps[-1] == "delete:venv/runtime"
    assert mended(standing)
    assert [one.name for one in (standing.layout.root / "venv").iterdir()] == [new[:16]]
    assert standing.layout.paths(new).python in standing.layout.service_config("inner").read_text()


@pytest.mark.promise(13)
def test_a_root_that_somebody_else_filled_is_not_touched(world: World) -> None:
    world.layout.root.mkdir(parents=True)
    (world.layout.root / "thesis.txt").write_text("years of work")
    observed = world.observed("directory/home")
    assert observed.owner == "unlabelled"
    with pytest.raises(Refused, match="is not paictl's"):
        world.make(world.resource("directory/home"))
    assert [one.name for one in world.layout.root.iterdir()] == ["thesis.txt"]
    world.driver.adopt(world.scope, [observed.address])
    assert sorted(one.name for one in world.layout.root.iterdir()) == ["paictl.json", "thesis.txt"]
    world.stand_up()
    world.tear_down(data=True)
    assert [one.name for one in world.layout.root.iterdir() if one.suffix == ".txt"] == ["thesis.txt"]


@pytest.mark.promise(13)
def test_another_target_s_agent_of_the_same_name_is_foreign(world: World) -> None:
    world.make(world.resource("directory/home"))
    world.blueprint = replace(world.blueprint, target="elsewhere")
    assert world.observed("directory/home").owner == "foreign"
    with pytest.raises(Refused, match="home of trial on here"):
        world.make(world.resource("directory/home"))


@pytest.mark.promise(13)
def test_a_unit_of_the_same_name_that_is_not_ours_is_told_apart(world: World) -> None:
    path = unit_path("trial")
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    assert world.observed("unit/boot").owner == "unlabelled"
    world.make(world.resource("directory/home"))
    world.driver.adopt(world.scope, [Address("here", "native", "unit", "boot")])
    assert world.observed("unit/boot").owner == "mine"
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"


@pytest.mark.promise(4)
@pytest.mark.parametrize(
    "path", ["records", "records/service", "config/door", "supervisor/services", "keys", "secrets"]
)
@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything; run the tests as a user to see it")
def test_what_may_not_be_read_is_unreachable(standing: World, path: str) -> None:
    closed = standing.layout.root / path
    closed.chmod(0)
    try:
        with pytest.raises(Unreachable, match="can't be read"):
            standing.driver.observe(standing.scope)
    finally:
        closed.chmod(0o700)


@pytest.mark.promise(4)
def test_what_can_t_be_read_is_unreachable(standing: World) -> None:
    path = standing.layout.root / "records/service/inner.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(Unreachable, match="can't be read"):
        standing.driver.observe(standing.scope)


@pytest.mark.promise(16)
def test_a_second_writer_is_refused_with_the_name_of_the_first(world: World) -> None:
    first = Holder("alice", "desk", 4711, "2026-01-02T03:04:05+00:00", "apply")
    second = Holder("bob", "desk", 4712, "2026-01-02T03:04:06+00:00", "apply")
    with world.driver.hold_lock(world.scope, first):
        with pytest.raises(LockHeld, match="alice on desk, process 4711"), world.driver.hold_lock(world.scope, second):
            pass
        assert world.addresses() == []
    with world.driver.hold_lock(world.scope, second):
        pass


@pytest.mark.promise(15)
def test_the_inventory_is_kept_with_the_agent_and_goes_with_it(world: World) -> None:
    assert world.driver.load_inventory(world.scope) is None
    world.driver.save_inventory(world.scope, {"resources": {}})
    assert not world.layout.root.exists()
    world.make(world.resource("directory/home"))
    inventory = {"format": 1, "resources": {"directory/home": {}}}
    world.driver.save_inventory(world.scope, inventory)
    assert world.driver.load_inventory(world.scope) == inventory
    world.tear_down(data=True)
    assert not world.layout.root.exists()


def test_the_token_and_the_address_of_the_door_are_read_from_the_target(standing: World) -> None:
    (standing.layout.secrets / "gateway-token").write_text("t0ken")
    reach = standing.driver.reach(standing.blueprint)
    assert (reach.url, reach.token) == (f"http://127.0.0.1:{standing.blueprint.public[1].port}", "t0ken")
    assert "t0ken" not in repr(reach)


def test_the_door_is_where_it_was_applied_whatever_the_blueprint_says_meanwhile(standing: World) -> None:
    (standing.layout.secrets / "gateway-token").write_text("t0ken")
    door, *others = standing.blueprint.services
    applied = door.endpoints[0].port
    moved = replace(door, endpoints=(replace(door.endpoints[0], port=free_port()),))
    runtime = replace(standing.blueprint.runtime, digest="beef" * 16)
    standing.blueprint = replace(standing.blueprint, services=(moved, *others), runtime=runtime)
    assert standing.driver.reach(standing.blueprint).url == f"http://127.0.0.1:{applied}"
    done = standing.driver.run_in_room(standing.blueprint, "room", ["python", "-c", "print('in the room')"])
    assert (done.code, done.stdout) == (0, b"in the room\n"), done.stderr


def test_logs_of_a_service_nobody_knows_name_those_that_exist(standing: World) -> None:
    with pytest.raises(PaictlError, match="no log of nobody") as raised:
        standing.driver.logs(standing.scope, "nobody", tail=1, follow=False)
    assert "door, inner, room, supervisor" in raised.value.help


def test_a_record_that_a_crash_left_half_made_is_found_and_can_be_pruned(world: World) -> None:
    from paictl.drivers.native import records
    from paictl.engine.model import Step

    for address in ("directory/home", "venv/runtime"):
        world.make(world.resource(address))
    resource = world.resource("file/config/door/door.json")
    path = world.layout.root / "config/door/door.json"
    records.begin(world.layout, Step("create", resource.address, "create", "it was begun", resource=resource))
    assert "file/config/door/door.json" not in world.addresses()
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    observed = world.observed("file/config/door/door.json")
    assert (observed.owner, observed.fingerprint) == ("mine", "")
    world.remove(observed)
    assert not path.exists()


def test_everything_stands_where_the_path_is_too_long_for_a_socket(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("a-long-name-" * 8) / ("and-another-" * 8)
    monkeypatch.setenv("XDG_DATA_HOME", str(deep))
    layout = world.layout
    assert len(str(layout.root / "run/inner/http.sock")) > 108
    try:
        world.stand_up()
        assert world.differences() == []
    finally:
        world.tear_down(data=True)
    assert not layout.root.exists()
    assert not layout.socket.parent.exists()


@pytest.mark.promise(12)
def test_a_volume_with_something_in_it_stays_unless_the_step_says_that_it_destroys(world: World) -> None:
    for address in ("directory/home", "volume/door"):
        world.make(world.resource(address))
    memory = world.layout.root / "data" / "door" / "memory"
    memory.write_text("what the agent knows")
    observed = world.observed("volume/door")
    world.remove(observed)
    assert memory.read_text() == "what the agent knows"
    world.remove(observed, destroys=True)
    assert not memory.parent.exists()
