from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from paictl.blueprint.periodic import Backup
from paictl.blueprint.types import Blueprint
from paictl.render import ansible
from paictl.render.layout import build
from paictl.render.roles import role_digest, role_vars
from paictl.render.units import units as units_of
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL
from tests.render.examples import EVERY
from tests.render.reading import documents, written

BIN = Path(sys.executable).parent
MOST_EXPOSED = 1.0
MOST_EXPOSED_WITH_CARDS = 1.5

every_blueprint = pytest.mark.parametrize("blueprint", [QUICKSTART, WITH_API_MODEL], ids=["quickstart", "api-model"])


def units(blueprint: Blueprint) -> Mapping[str, str]:
    """Unit name -> text; the interpreter, which the role installs, is replaced by one that is here."""
    return {
        Path(path).name: re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", text)
        for path, text in ansible.files(blueprint).items()
        if path.startswith("files/units/")
    }


def settings(text: str) -> dict[str, list[str]]:
    """The unit's [Service] section, each key with all its values."""
    found: dict[str, list[str]] = {}
    for line in text.partition("[Service]")[2].partition("[Install]")[0].splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def exposure(text: str, folder: Path) -> float:
    """systemd's own judgement, 0 (closed) to 10."""
    path = folder / "judged.service"
    path.write_text(text, encoding="utf-8")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found, told
    return float(found[1])


def verified(texts: Mapping[str, str], folder: Path) -> str:
    """What systemd finds wrong with the units, seen together."""
    paths = [str(written({name: text}, folder) / name) for name, text in texts.items()]
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], check=False, capture_output=True, text=True
    ).stderr


def syntax_checked(folder: Path, book: str = "playbook.yaml") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "ansible-playbook"), "--syntax-check", book],
        cwd=folder,
        env=os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")},
        check=False,
        capture_output=True,
        text=True,
    )


@every_blueprint
def test_ansible_accepts_the_playbook_with_its_roles_and_inventory(blueprint: Blueprint, tmp_path: Path) -> None:
    done = syntax_checked(written(ansible.files(blueprint), tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_backup_comes_with_the_play_that_brings_it_back(tmp_path: Path) -> None:
    files = ansible.files(replace(QUICKSTART, backup=Backup("/srv/backup/atlas", 86400, 14, ("age1x",))))
    done = syntax_checked(written(files, tmp_path), "restore.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ansible-playbook restore.yaml" in files["README.md"]
    without = ansible.files(QUICKSTART)
    assert "restore.yaml" not in without
    assert "restore.yaml" not in without["README.md"]


def test_the_syntax_check_is_one_that_refuses(tmp_path: Path) -> None:
    folder = written(ansible.files(QUICKSTART), tmp_path)
    tasks = folder / "roles/runtime/tasks/main.yml"
    tasks.write_text(
        tasks.read_text(encoding="utf-8").replace("ansible.builtin.import_tasks", "import_taks", 1), encoding="utf-8"
    )
    assert syntax_checked(folder).returncode != 0


@pytest.mark.slow
@every_blueprint
def test_ansible_lint_finds_nothing_by_its_strictest_profile(blueprint: Blueprint, tmp_path: Path) -> None:
    folder = written(ansible.files(blueprint), tmp_path)
    done = subprocess.run(
        [str(BIN / "ansible-lint"), "--offline", "-q", "--profile", "production", "--nocolor", "playbook.yaml"],
        cwd=folder,
        env=os.environ | {"ANSIBLE_HOME": str(tmp_path / "ansible"), "PATH": f"{BIN}:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_blueprint
def test_systemd_verifies_every_unit(blueprint: Blueprint, tmp_path: Path) -> None:
    assert verified(units(blueprint), tmp_path) == ""


def test_the_verification_is_one_that_refuses(tmp_path: Path) -> None:
    broken = {name: text.replace("PrivateUsers=", "PrivateUser=") for name, text in units(QUICKSTART).items()}
    assert "PrivateUser" in verified(broken, tmp_path)


@pytest.mark.promise(33)
@pytest.mark.parametrize("name", sorted(EVERY))
def test_no_unit_is_exposed_more_than_the_bar(name: str, tmp_path: Path) -> None:
    # What runs from images of others is a container on a host, too.
    ours = [unit for unit in units_of(EVERY[name]) if not unit.service.upstream]
    bars = {unit.name: MOST_EXPOSED_WITH_CARDS if unit.service.gpus else MOST_EXPOSED for unit in ours}
    judged = {unit.name: exposure(unit.text, tmp_path) for unit in ours}
    assert judged
    assert {unit: found for unit, found in judged.items() if found > bars[unit]} == {}


def test_a_model_server_sees_the_graphics_cards_only_where_it_is_given_them() -> None:
    chat, *others = QUICKSTART.services
    given = replace(QUICKSTART, services=(replace(chat, gpus="nvidia"), *others))
    with_cards, without = (settings(units_of(one)[0].text) for one in (given, QUICKSTART))
    assert with_cards["DevicePolicy"] == without["DevicePolicy"] == ["closed"]
    assert all(one.startswith("char-nvidia") for one in with_cards["DeviceAllow"])
    assert "DeviceAllow" not in without
    assert without["PrivateDevices"] == ["yes"]


@pytest.mark.parametrize("lost", ["SystemCallFilter", "CapabilityBoundingSet", "NoNewPrivileges", "ProtectSystem"])
def test_a_gateway_that_lost_one_bound_is_found(lost: str, tmp_path: Path) -> None:
    text = units(QUICKSTART)["paictl-atlas-gateway.service"]
    assert exposure(text, tmp_path) <= MOST_EXPOSED
    assert exposure(re.sub(rf"(?m)^{lost}=.*\n", "", text), tmp_path) > MOST_EXPOSED


@every_blueprint
def test_only_the_gateway_has_a_network(blueprint: Blueprint) -> None:
    for name, text in units(blueprint).items():
        if not name.endswith(".service"):
            continue
        alone = settings(text).get("PrivateNetwork") == ["yes"] and settings(text)["RestrictAddressFamilies"] == [
            "AF_UNIX"
        ]
        assert alone == ("gateway" not in name)


def test_a_gateway_with_nothing_declared_outside_reaches_its_own_host_only() -> None:
    unit = settings(units(QUICKSTART)["paictl-atlas-gateway.service"])
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == (["any"], ["localhost"])


@every_blueprint
def test_each_room_holds_its_own_files_and_the_sockets_it_may_reach(blueprint: Blueprint) -> None:
    for service in blueprint.services:
        unit = settings(units(blueprint)[f"paictl-atlas-{service.name}.service"])
        binds = {one.rpartition(":")[2] for one in unit["BindReadOnlyPaths"] + unit.get("BindPaths", []) if ":" in one}
        sockets = {place.rpartition("/")[2] for place in binds if place.startswith("/srv/paictl/run/")}
        own = {service.name} if any(not endpoint.public for endpoint in service.endpoints) else set()
        assert sockets == own | {reached.partition("/")[0] for reached in service.reaches}
        data = {place for place in binds if place.startswith("/srv/paictl/data/")}
        assert data == {f"/srv/paictl/{volume.path}" for volume in service.volumes}
        assert {one.partition(":")[0] for one in unit.get("LoadCredential", [])} == set(service.secrets)
        assert "MemoryMax" in unit


@every_blueprint
def test_a_room_shows_nothing_of_the_host_but_programs(blueprint: Blueprint) -> None:
    for service in blueprint.services:
        unit = settings(units(blueprint)[f"paictl-atlas-{service.name}.service"])
        assert unit["RootDirectory"] == [f"/var/lib/paictl/atlas/rooms/{service.name}"]
        shown = {path for one in unit["BindReadOnlyPaths"] if ":" not in one for path in one.split()}
        programs = {"/usr", "-/etc/group", "-/etc/ld.so.cache", "-/etc/localtime", "-/etc/passwd"}
        resolver = {"-/etc/hosts", "-/etc/nsswitch.conf", "-/etc/resolv.conf", "-/etc/ssl", "-/run/systemd/resolve"}
        code = {path for path in shown if path.startswith("/opt/paictl/runtime/")}
        assert shown - code == programs | (resolver if service.egress else set())


@every_blueprint
def test_every_directory_that_a_unit_binds_is_laid_out_before(blueprint: Blueprint) -> None:
    for unit in units_of(blueprint):
        lines = [line.split() for line in unit.tmpfiles.splitlines()]
        laid_out = {line[1] for line in lines if line and line[0] in {"d", "L+"}}
        bound = settings(unit.text)
        for bind in bound["BindReadOnlyPaths"] + bound.get("BindPaths", []):
            source, _, place = bind.partition(":")
            if place:
                kept = any(f"/var/lib/paictl/atlas/{each}/" in source for each in ("data", "models"))
                assert kept or source in laid_out
                assert bound["RootDirectory"][0] + place in laid_out


@every_blueprint
def test_a_unit_lays_out_the_same_place_as_another_in_the_same_way(blueprint: Blueprint) -> None:
    lines = {
        line for unit in units_of(blueprint) for line in unit.tmpfiles.splitlines() if line.startswith(("d ", "L+ "))
    }
    places = [line.split()[1] for line in lines]
    assert len(places) == len(set(places))


def test_what_a_unit_is_made_of_changes_with_its_configuration_and_its_room_and_with_nothing_else() -> None:
    def marks(blueprint: Blueprint) -> dict[str, str]:
        return {unit.service.name: settings(unit.text)["SetCredential"][0] for unit in units_of(blueprint)}

    before = marks(QUICKSTART)
    agent = QUICKSTART.service("agent")
    other = replace(agent, config=replace(agent.config, content={**json_of(agent.config.content), "owner": "bob"}))
    changed = marks(replace(QUICKSTART, services=(*QUICKSTART.services[:-1], other)))
    assert {name for name in before if before[name] != changed[name]} == {"agent"}
    assert marks(replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, version="9.9"))) == before
    moved = marks(replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, digest="8" * 64)))
    assert all(before[name] != moved[name] for name in before)


def json_of(content: Mapping[str, object] | str) -> Mapping[str, object]:
    assert not isinstance(content, str)
    return content


def test_a_service_is_asked_where_root_of_its_host_reaches_it_and_one_that_listens_nowhere_through_its_witness() -> (
    None
):
    gateway, agent = QUICKSTART.services[-2:]
    watched = replace(agent, health=replace(agent.health, path="/healthz/agent", witness="gateway/http"))
    asked = {
        one.service.name: one.check
        for one in units_of(replace(QUICKSTART, services=(*QUICKSTART.services[:2], gateway, watched)))
    }
    assert asked["model-chat"] == {"socket": "/run/paictl/atlas/model-chat/http.sock", "path": "/health"}
    assert asked["gateway"] == {"address": "127.0.0.1:8700", "path": "/healthz"}
    assert asked["agent"] == {"address": "127.0.0.1:8700", "path": "/healthz/agent"}
    assert units_of(QUICKSTART)[-1].check is None


def test_the_texts_on_a_host_are_those_of_the_plain_files() -> None:
    files = ansible.files(WITH_API_MODEL)
    for unit in units_of(WITH_API_MODEL):
        assert files[f"files/units/{unit.name}"] == unit.text
        assert files[f"files/tmpfiles/{unit.stem}.conf"] == unit.tmpfiles
        for path, text in unit.configs.items():
            assert files[path.replace("/etc/paictl/atlas/", "files/")] == text


@pytest.mark.promise(23)
def test_no_file_of_a_play_holds_a_secret_and_no_task_that_touches_one_tells_of_it() -> None:
    files = ansible.files(WITH_API_MODEL)
    assert not any(path.startswith("secrets/") for path in files)
    tasks = yaml.safe_load(files["roles/runtime/tasks/secret.yml"])
    assert [task["no_log"] for task in tasks] == [True] * len(tasks)
    assert [task["diff"] for task in tasks if "ansible.builtin.copy" in task] == [False]


def test_services_are_wired_by_sockets_and_people_by_tcp() -> None:
    files = ansible.files(QUICKSTART)
    gateway = json.loads(files["files/config/gateway/gateway.json"])
    assert gateway["listen"] == "tcp:127.0.0.1:8700"
    assert gateway["inner"] == "unix:run/gateway/inner.sock"
    assert gateway["models"]["chat"]["endpoint"] == "unix:run/model-chat/http.sock"


def test_the_inventory_names_the_targets_hosts_or_else_this_machine() -> None:
    [inventory] = documents(ansible.files(WITH_API_MODEL)["inventory.yaml"])
    assert inventory["all"]["hosts"] == {
        "vps1": {"ansible_host": "203.0.113.7", "ansible_port": 22, "ansible_user": "debian"},
        "pi5": {"ansible_host": "pi5.local", "ansible_port": 2222},
    }
    assert inventory["all"]["children"]["for_base"] == {"hosts": {"vps1": None, "pi5": None}}
    assert inventory["all"]["children"]["for_runtime"] == {"hosts": {"vps1": None}}
    [inventory] = documents(ansible.files(QUICKSTART)["inventory.yaml"])
    assert inventory["all"]["hosts"] == {"localhost": {"ansible_connection": "local"}}


def test_the_variables_are_what_the_roles_say_they_take() -> None:
    files = ansible.files(WITH_API_MODEL)
    for role in ("base", "hardening", "runtime"):
        [specs] = documents(files[f"roles/{role}/meta/argument_specs.yml"])
        taken = specs["argument_specs"]["main"]["options"]
        given = role_vars(WITH_API_MODEL, role, "vps1")
        assert set(given) <= set(taken)
        assert {name for name, option in taken.items() if option.get("required")} <= set(given)
        [told] = documents(files["host_vars/vps1.yaml"])
        assert given.items() <= told.items()


def test_only_the_roles_that_some_host_has_are_written_out() -> None:
    written_out = {path.split("/")[1] for path in ansible.files(QUICKSTART) if path.startswith("roles/")}
    assert written_out == {"base", "hardening", "runtime"}


def test_a_host_without_services_is_told_nothing_of_the_runtime() -> None:
    [told] = documents(ansible.files(WITH_API_MODEL)["host_vars/pi5.yaml"])
    assert not any(name.startswith("runtime_") for name in told)


def test_a_declared_secret_is_copied_and_the_others_are_made_there() -> None:
    told = role_vars(WITH_API_MODEL, "runtime", "vps1")
    made = ("agent-token", "checkpoint-key", "gateway-token")
    assert told["runtime_secrets"] == [
        *({"name": name, "generated": True} for name in made),
        {"name": "anthropic", "generated": False},
    ]


def test_a_build_is_named_by_the_pin_so_that_a_newer_paictl_installs_nothing() -> None:
    assert build(QUICKSTART) == build(replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, version="9.9")))
    assert build(QUICKSTART) != build(replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, digest="8" * 64)))


def test_each_role_has_a_digest_of_its_own() -> None:
    assert len({role_digest(role) for role in ("base", "hardening", "runtime")}) == len(
        ("base", "hardening", "runtime")
    )


def test_the_settings_name_only_what_is_rendered() -> None:
    files = ansible.files(QUICKSTART)
    parser = configparser.ConfigParser()
    parser.read_string(files["ansible.cfg"])
    assert parser["defaults"]["inventory"] in files
    assert any(path.startswith(f"{parser['defaults']['roles_path']}/runtime/") for path in files)
