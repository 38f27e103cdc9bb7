"""The engine that the tests run on: had in all the ways there are, disturbing no other engine, and gone without a trace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import psutil
import pytest

from tests.docker import engine as engines
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.daemon import Engine, answers
from tests.waiting import until

pytestmark = pytest.mark.docker

# Uses the engine until a line comes in; leaves a container and a volume there when told to.
USER = """
import docker, sys
from tests.docker import engine, stock
held = engine.lease()
if sys.argv[1:] == ["littering"]:
    client = docker.APIClient(base_url=held.host)
    made = client.create_container(stock.tiny(client), ["sleep", "300"], name="litter", volumes=["/data"])
    client.start(made)
    client.create_volume("litter")
print(held.host, flush=True)
sys.stdin.readline()
print(held.close(), flush=True)
"""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """A cache of its own, as if this were another machine without an engine."""

    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
        return kept | {"XDG_CACHE_HOME": str(self.cache)}

    @property
    def engine(self) -> Engine:
        return Engine(self.cache / "paictl-tests" / "engine")

    def user(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def run(self, *command: str) -> tuple[int, str]:
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def machine() -> Iterator[Machine]:
    if reason := engines.lacking_own():
        pytest.skip(reason)
    if answers("unix:///var/run/docker.sock"):
        pytest.skip("this machine has an engine, which is always preferred")
    folder = Path(tempfile.mkdtemp(prefix="machine-", dir=engines.cache()))
    made = Machine(folder)
    # Debian's part is the same everywhere.
    if (engines.cache() / "programs").exists():
        shutil.copytree(engines.cache() / "programs", folder / "paictl-tests" / "programs", symlinks=True)
    yield made
    for directory in (folder / "paictl-tests").glob("own-*"):
        Engine(directory).stop()
    made.engine.stop()
    shutil.rmtree(folder)


def told(user: subprocess.Popen[str]) -> str:
    assert user.stdout
    return user.stdout.readline().strip()


def done(user: subprocess.Popen[str]) -> str:
    said, _ = user.communicate("\n")
    return said.strip()


def rules_for(address: str) -> list[str]:
    """What this network's packet filter says of a container."""
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    return [line for line in saved.splitlines() if f"{address}/32" in line or f"{address}:" in line]


def running(image: str, client: docker.APIClient, policy: str) -> str:
    host = client.create_host_config(
        port_bindings={8080: ("127.0.0.1", None)}, restart_policy={"Name": policy}, init=True
    )
    name, labels = f"lane-{os.getpid()}-web", {"paictl.test": "lane"}
    command = ["httpd", "-f", "-p", "8080"]
    made = client.create_container(image, command, name=name, ports=[8080], host_config=host, labels=labels)
    client.start(made)
    return str(made["Id"])


def listens(client: docker.APIClient, container: str) -> bool:
    bound = client.port(container, 8080)
    try:
        httpx.get(f"http://127.0.0.1:{bound[0]['HostPort']}", timeout=5)
    except (httpx.TransportError, IndexError, TypeError):
        return False
    return True


def test_an_engine_answers(engine: Reached) -> None:
    assert engine.api.ping()


@pytest.mark.slow
def test_an_engine_of_a_tests_own_leaves_the_ports_of_another_alone(
    engine: Reached, request: pytest.FixtureRequest
) -> None:
    web = running(stock.tiny(engine.api), engine.api, "no")
    try:
        address = engine.api.inspect_container(web)["NetworkSettings"]["IPAddress"]
        before = rules_for(address)
        assert before or engines.given(), "our own publishes by rules"
        other: Engine = request.getfixturevalue("private_engine")
        assert rules_for(address) == before
        assert other.directory.name not in Path("/proc/mounts").read_text("ascii")
    finally:
        engine.api.remove_container(web, force=True)


@pytest.mark.slow
def test_an_engine_of_a_tests_own_is_restarted_and_killed(private_engine: Engine) -> None:
    client = docker.APIClient(base_url=private_engine.host, version="auto")
    web = running(stock.tiny(client), client, "always")
    assert not listens(client, web), "its ports are not this machine's"
    with private_engine.entered():
        until(lambda: listens(client, web), "the published port answers inside")

    private_engine.restart()
    with private_engine.entered():
        until(lambda: listens(client, web), "a container with a policy is back after a restart")

    pid = client.inspect_container(web)["State"]["Pid"]
    private_engine.kill()
    assert not private_engine.running
    private_engine.serve()
    until(lambda: client.inspect_container(web)["State"]["Pid"] not in (0, pid), "started again after the crash")
    client.close()


@pytest.mark.slow
def test_a_stopped_engine_leaves_no_process_and_no_control_group(private_engine: Engine) -> None:
    client = docker.APIClient(base_url=private_engine.host, version="auto")
    running(stock.tiny(client), client, "no")
    group = private_engine.group
    assert [*Path("/sys/fs/cgroup").glob(f"**/{group}")]
    client.close()
    private_engine.stop()
    name = private_engine.directory.name
    assert not [one for one in psutil.process_iter(["cmdline"]) if name in " ".join(one.info["cmdline"] or ())]
    assert not [*Path("/sys/fs/cgroup").glob(f"**/{group}")]
    assert not private_engine.running


@pytest.mark.slow
def test_all_users_share_one_engine_and_the_last_one_ends_it(machine: Machine) -> None:
    first, second = machine.user(), machine.user()
    assert told(first) == told(second) == machine.engine.host
    assert machine.run(sys.executable, "-m", "tests.docker.engine", "stop")[0] == 1, "not under their feet"
    assert done(first) == "[]"
    assert machine.engine.running
    assert done(second) == "[]"
    assert not machine.engine.running


@pytest.mark.slow
def test_the_last_user_is_told_what_is_left(machine: Machine) -> None:
    user = machine.user("littering")
    assert told(user) == machine.engine.host
    assert "container /litter" in done(user)


@pytest.mark.slow
def test_what_a_killed_run_left_is_cleared_by_the_next_but_images_stay(machine: Machine) -> None:
    killed = machine.user("littering")
    told(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not machine.engine.running, "the engine's end")
    following = machine.user()
    host = told(following)
    client = docker.APIClient(base_url=host, version="auto")
    assert client.containers(all=True) == []
    assert not client.volumes()["Volumes"]
    assert any("paictl-test/tiny" in str(image["RepoTags"]) for image in client.images())
    client.close()
    assert done(following) == "[]"
    assert not machine.engine.running


@pytest.mark.slow
def test_an_engine_of_a_killed_test_is_cleared_by_the_next_that_needs_one(machine: Machine) -> None:
    script = "import sys; from tests.docker.engine import private\nwith private() as made: print(made.host, flush=True); sys.stdin.read()"
    users = []
    for _ in range(2):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", script]
        users.append(subprocess.Popen(command, env=machine.environment, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
        assert answers(told(users[-1]))
    users[0].kill()
    users[0].communicate()
    third = machine.run(sys.executable, "-c", script.replace("sys.stdin.read()", ""))
    assert third[0] == 0, third[1]
    assert len([*(machine.cache / "paictl-tests").glob("own-*")]) == 1, "the living one is left alone"
    done(users[1])
    assert not [*(machine.cache / "paictl-tests").glob("own-*")]


@pytest.mark.slow
def test_an_engine_that_is_started_by_hand_stays_until_it_is_stopped(machine: Machine) -> None:
    by_hand = (sys.executable, "-m", "tests.docker.engine")
    code, said = machine.run(*by_hand, "start")
    assert code == 0, said
    user = machine.user()
    told(user)
    done(user)
    assert machine.engine.running
    assert "our own" in machine.run(*by_hand, "status")[1]
    assert machine.run(*by_hand, "stop") == (0, "")
    assert not machine.engine.running


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ("sys_admin", "root can't make namespaces here, as in a plain container"),
        ("net_admin", "root can't use iptables here, as in a plain container"),
    ],
)
def test_where_root_may_not_start_an_engine_it_is_told_why(machine: Machine, without: str, reason: str) -> None:
    lacking = (sys.executable, "-c", "from tests.docker.engine import lacking; print(lacking())")
    assert machine.run(*lacking) == (0, "\n")
    _, said = machine.run("setpriv", f"--bounding-set=-{without}", f"--inh-caps=-{without}", *lacking)
    assert said.startswith(reason), said


def test_a_given_engine_that_does_not_answer_is_told(machine: Machine) -> None:
    lacking = "import os; os.environ['DOCKER_HOST'] = 'unix:///nowhere.sock'; from tests.docker.engine import lacking; print(lacking())"
    said = machine.run(sys.executable, "-c", lacking)[1]
    assert said == "no Docker engine answers at unix:///nowhere.sock (DOCKER_HOST)\n"
