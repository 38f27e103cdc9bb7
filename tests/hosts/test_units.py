"""The quickstart's agent as plain files for one host: ansible-playbook alone makes it stand, and it is there after every start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from paictl.assets import asset
from tests.hosts import host as one
from tests.hosts.lan import Lan
from tests.hosts.project import Project, rendered
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

MOST_EXPOSED = 1.0
MOST_RESIDENT = 250 << 20
SERVICES = ("agent", "gateway", "model-chat", "model-embed")


@pytest.fixture(scope="module")
def project(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    host = one.begin(lan, "plain", online=True)
    yield rendered(tmp_path_factory.mktemp("units"), host)
    host.end()


def resident(project: Project, service: str) -> int:
    """Bytes of memory of everything that a service runs, each page counted where it is mapped."""
    unit = f"paictl-{project.agent}-{service}.service"
    pids = project.host.exec(["sh", "-c", f"cat $(find /sys/fs/cgroup -path '*/{unit}/cgroup.procs')"]).split()
    told = (project.host.exec(["grep", "^Rss:", f"/proc/{pid}/smaps_rollup"]) for pid in set(pids))
    return sum(int(line.split()[1]) << 10 for line in told)


def test_ansible_alone_makes_the_agent_stand_and_it_answers(project: Project) -> None:
    assert project.play().counts["failed"] == 0
    assert project.ready()
    assert project.ask("My sister's name is Ines.").strip()


@pytest.mark.promise(2)
def test_the_second_run_changes_nothing(project: Project) -> None:
    before = project.started()
    assert project.play().changed == []
    assert project.started() == before


def test_agent_and_gateway_at_rest_leave_a_small_machine_its_memory(project: Project) -> None:
    found = {service: resident(project, service) for service in ("agent", "gateway")}
    assert 0 < sum(found.values()) <= MOST_RESIDENT, found


@pytest.mark.promise(33)
@pytest.mark.parametrize("service", SERVICES)
def test_the_hosts_own_systemd_finds_no_unit_exposed(service: str, project: Project) -> None:
    told = project.host.exec(["systemd-analyze", "security", "--no-pager", f"paictl-{project.agent}-{service}.service"])
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found, told
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.promise(23)
def test_only_root_and_the_unit_that_needs_it_can_read_a_secret(project: Project) -> None:
    host, folder = project.host, f"/etc/paictl/{project.agent}/secrets"
    assert set(host.exec(["find", folder, "-type", "f", "-printf", "%U %m\n"]).splitlines()) == {"0 400"}
    token = host.exec(["cat", f"{folder}/gateway-token"]).strip()
    # Not even a hash of it is in a log.
    assert token not in host.exec(["journalctl", "--no-pager", "--output=cat"])
    pid = host.exec(["systemctl", "show", "--property=MainPID", "--value", f"paictl-{project.agent}-agent"]).strip()
    assert host.exec(["ls", f"/proc/{pid}/root/srv/paictl/secrets/"]).split() == [
        "agent-token",
        "checkpoint-key",
        "made-of",
    ]


def test_what_a_cut_off_play_had_written_is_what_the_next_one_runs_and_nothing_else_begins_anew(
    project: Project,
) -> None:
    text = (project.folder / "files/units/paictl-atlas-agent.service").read_text(encoding="utf-8")
    changed = re.sub("made-of:.*", "made-of:another", text)
    (project.folder / "files/units/paictl-atlas-agent.service").write_text(changed, encoding="utf-8")
    # As far as a play came that was cut off before it had started anything.
    project.host.exec(["sh", "-c", "cat >/etc/systemd/system/paictl-atlas-agent.service"], changed)
    before = project.started()
    assert project.play(book=project.only_the_runtime()).changed == ["runtime : Run it"]
    after = project.started()
    assert {name for name in before if before[name] != after[name]} == {"agent"}


@pytest.mark.promise(8)
def test_a_service_that_does_not_start_fails_with_what_it_said_last(project: Project) -> None:
    unit = project.folder / "files/units/paictl-atlas-agent.service"
    text = unit.read_text(encoding="utf-8")
    unit.write_text(re.sub("(?m)^ExecStart=.*$", "ExecStart=/bin/nothing", text), encoding="utf-8")
    [service] = [one for one in project.variables()["runtime_services"] if one["name"] == "agent"]
    role = {"name": "runtime", "tasks_from": "service"}
    task = {"ansible.builtin.include_role": role, "vars": {"runtime_service": service}, "name": "Run the agent"}
    book = [{"hosts": "all", "become": True, "gather_facts": False, "tasks": [task]}]
    (project.folder / "agent.json").write_text(json.dumps(book), encoding="utf-8")
    try:
        said = project.play(book="agent.json", code=2).text
    finally:
        unit.write_text(text, encoding="utf-8")
    assert "paictl-atlas-agent.service does not start" in said
    assert "Main process exited, code=exited, status=203/EXEC" in said
    assert "runtime : Run it" in project.play(book="agent.json").changed


@pytest.mark.promise(12)
def test_after_a_reboot_it_is_back_and_remembers(project: Project) -> None:
    project.host.reboot()
    until(project.ready, "the agent", 120)
    assert "ines" in project.ask("What is my sister's name?").lower()


def test_a_build_that_somebody_altered_is_known_to_be(project: Project) -> None:
    program = asset("roles", "runtime", "files", "whole.py").read_text(encoding="utf-8")
    code = f"/opt/paictl/runtime/{project.variables()['runtime_build']}"
    look = ["sh", "-c", 'python3 -c "$0" "$1"; echo $?', program, code]
    assert project.host.exec(look) == "0\n"
    project.host.exec(["sh", "-c", f"echo >>{code}/source/paictl/runtime/headers.py"])
    assert project.host.exec(look) == "1\n"
