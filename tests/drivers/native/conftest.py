"""A place of its own for each test's agents, a light runtime that is built once, and a small world of two services."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from paictl import places
from paictl.blueprint.runtime import requirements
from paictl.blueprint.types import (
    Blueprint,
    ConfigFile,
    Endpoint,
    HealthCheck,
    RuntimePin,
    SecretFile,
    Service,
    Volume,
)
from paictl.clock import SystemClock
from paictl.drivers.native import NativeDriver
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.processes import Process, end, marked
from paictl.drivers.native.venvs import add_code, cached, make_environment
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired, Options
from paictl.engine.model import Action, DataEffect, Health, Observed, Resource, Step
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError
from paictl.events import Event, ignore
from tests.ports import free_port

TRIAL = "paictl_trial"
PIN = RuntimePin("test", "7e57" * 16)


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a light runtime in it: the supervisor, our code and the trial service. One for all workers."""
    return light_runtime(tmp_path_factory.getbasetemp())


def light_runtime(base: Path) -> Path:
    """The same for whoever knows this worker's temporary folder."""
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "native-cache"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as handle, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(handle, fcntl.LOCK_EX)
        patch.setenv("XDG_CACHE_HOME", str(shared))
        path = cached(PIN.digest)
        if not path.exists():
            path.parent.mkdir(parents=True)
            temporary = path.with_name("being-built")
            make_environment(temporary, _light_requirements(shared))
            site = next(temporary.glob("lib/python*/site-packages"))
            shutil.copyfile(Path(__file__).with_name("trial.py"), site / f"{TRIAL}.py")
            add_code(temporary, PIN.digest)
            temporary.rename(path)
    return shared


def _light_requirements(folder: Path) -> Path:
    text = requirements().read_text(encoding="utf-8")
    start = text.index("\nsupervisor==") + 1
    end = next(i for i in range(start, len(text)) if text[i] == "\n" and text[i - 1] != "\\")
    path = folder / "requirements.txt"
    path.write_text(text[start:end] + "\n", encoding="utf-8")
    return path


@dataclass
class World:
    """One agent's place, the driver, and what happened there."""

    driver: NativeDriver
    blueprint: Blueprint
    events: list[Event] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        return Scope(self.blueprint.agent, self.blueprint.target)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.blueprint.agent)

    def read(self, name: str) -> bytes:
        return self.secrets[name]

    def resources(self) -> list[Resource]:
        return list(self.driver.render(self.blueprint))

    def make(self, resource: Resource, observed: Observed | None = None) -> None:
        action: Action = "update" if observed else "create"
        step = Step(f"{action}:{resource.address}", resource.address, action, "the test says so", resource=resource)
        self.driver.act(step, secrets=self.read, emit=self.events.append)

    def reconciler(self) -> Reconciler:
        return Reconciler(
            scope=self.scope,
            driver=self.driver,
            state_dir=places.state_home(),
            secrets=self.read,
            who="alice",
            emit=self.events.append,
        )

    def desired(self) -> Desired:
        return Desired.of(self.driver, self.blueprint, manifest="m", lock="l")

    def stand_up(self) -> None:
        """An apply."""
        try:
            self.reconciler().apply(self.desired)
        except PaictlError as error:
            error.add_note("\n".join(str(event) for event in self.events))
            raise

    def wait(self, resource: Resource, state: str = "healthy", seconds: float = 30.0) -> Health:
        clock = SystemClock()
        deadline = clock.monotonic() + seconds
        while (health := self.driver.probe(resource)).state != state:
            assert clock.monotonic() < deadline, f"{resource.address} is {health}"
            assert not health.terminal, f"{resource.address} is {health}"
            clock.sleep(0.05)
        return health

    def resource(self, address: str) -> Resource:
        return next(one for one in self.resources() if str(one.address) == address)

    def observed(self, address: str) -> Observed:
        return next(one for one in self.driver.observe(self.scope).resources if str(one.address) == address)

    def addresses(self) -> list[str]:
        return sorted(str(one.address) for one in self.driver.observe(self.scope).resources)

    def differences(self) -> list[str]:
        """What an apply would have to do, as short addresses."""
        return [str(step.address) for step in self.reconciler().plan(self.desired).steps]

    def remove(self, observed: Observed, *, destroys: bool = False) -> None:
        effect = DataEffect(destroys=True) if destroys else None
        step = Step(
            f"delete:{observed.address}",
            observed.address,
            "delete",
            "the test says so",
            observed=observed,
            effect=effect,
        )
        self.driver.act(step, secrets=self.read, emit=ignore)

    def tear_down(self, *, data: bool = False) -> None:
        """A destroy."""
        holding = [one for one in self.driver.observe(self.scope).resources if one.holds_data]
        delete = frozenset(str(one.address) for one in holding) if data else frozenset()
        self.reconciler().destroy(Options(delete_data=delete))

    def pid(self, service: str) -> int:
        return int(self.observed(f"service/{service}").handle.partition(":")[0] or 0)

    def kill(self, address: str) -> int:
        """``kill -9`` of the process behind a service or the supervisor; its pid."""
        pid = int(self.observed(address).handle.partition(":")[0] or 0)
        assert pid, f"{address} does not run"  # pid 0 would be the tests themselves
        os.kill(pid, signal.SIGKILL)
        return pid

    def supervisors(self) -> list[Process]:
        """The supervisors among the agent's processes; what ends while one looks is none."""
        return [one for one in marked(self.layout) if b"supervisord" in _command(one.pid)]

    def config(self, service: str, **content: object) -> None:
        """Change a service's configuration in the blueprint."""
        services = tuple(
            replace(one, config=replace(one.config, content={**_mapping(one.config.content), **content}))
            if one.name == service
            else one
            for one in self.blueprint.services
        )
        self.blueprint = replace(self.blueprint, services=services)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _mapping(content: object) -> dict[str, object]:
    assert isinstance(content, dict)
    return content


def small_blueprint(*, unconfined: bool, port: int) -> Blueprint:
    """A door with a listener and an inner socket, a room that reaches it, a secret generated and one declared."""
    door = Service(
        name="door",
        role="gateway",
        module=TRIAL,
        config=ConfigFile("config/door/door.json", {"listen": "endpoint://door/http", "say": "hello"}),
        endpoints=(Endpoint("http", port, public=True),),
        volumes=(Volume("door", "data/door"),),
        secrets=("token", "declared"),
        room=False,
        health=HealthCheck("http", "/healthz", timeout_seconds=20, stable_seconds=0.2),
        stop_seconds=3,
    )
    inner = Service(
        name="inner",
        role="model",
        module=TRIAL,
        config=ConfigFile("config/inner/inner.json", {"listen": "endpoint://inner/http", "database": "data/inner/db"}),
        endpoints=(Endpoint("http", 8701),),
        volumes=(Volume("inner", "data/inner"),),
        secrets=("token",),
        health=HealthCheck("http", "/healthz", timeout_seconds=20, stable_seconds=0.2),
        stop_seconds=3,
    )
    room = Service(
        name="room",
        role="agent",
        module=TRIAL,
        config=ConfigFile("config/room/room.json", {"inner": "endpoint://inner/http"}),
        reaches=("inner/http",),
        needs=("inner",),
        volumes=(Volume("room", "data/room"),),
        health=HealthCheck(None, timeout_seconds=20, stable_seconds=0.2),
        stop_seconds=3,
    )
    return Blueprint(
        agent="trial",
        owner="alice",
        target="here",
        runtime=PIN,
        services=(door, inner, room),
        secrets=(
            SecretFile("token", "secrets/token", generated=True),
            SecretFile("declared", "secrets/declared", generated=False, fingerprint="f1"),
        ),
        unconfined=unconfined,
    )


@contextmanager
def new_world(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unconfined: bool) -> Iterator[World]:
    """A person's machine for one agent; whatever it left running is ended."""
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    world = World(NativeDriver(), small_blueprint(unconfined=unconfined, port=free_port()))
    world.secrets["declared"] = b"a-canary-of-the-test"
    layout = world.layout
    try:
        yield world
    finally:
        end(marked(layout))
        shutil.rmtree(layout.volatile, ignore_errors=True)
        shutil.rmtree(layout.socket.parent, ignore_errors=True)


@pytest.fixture
def world(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Services as plain processes: what everything but the room itself is tested with."""
    with new_world(runtime, tmp_path, monkeypatch, unconfined=True) as world:
        yield world


@pytest.fixture
def confined(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same in rooms, by bubblewrap."""
    with new_world(runtime, tmp_path, monkeypatch, unconfined=False) as world:
        yield world
