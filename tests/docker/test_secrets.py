from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.types import Mount

from paictl.drivers.docker import secrets
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.uploads import put_text
from paictl.errors import PaictlError, Unreachable
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.daemon import Engine
from tests.docker.engine import lacking
from tests.waiting import until

pytestmark = pytest.mark.docker

ROOT, OURS, THEIRS = "/srv/paictl", 65532, 999
SOURCES = Path(__file__).parents[2] / "paictl"
# The least of the runtime's image that the keeper needs.
DOCKERFILE = f"""
ARG BASE
FROM $BASE
COPY source /opt/paictl/source
RUN mkdir -p /opt/paictl/venv/bin && ln -s /usr/bin/python3 /opt/paictl/venv/bin/python && \
    install -d -o {OURS} -g {OURS} {ROOT}/keys
ENV PYTHONPATH=/opt/paictl/source PYTHONDONTWRITEBYTECODE=1
"""
# A service: it does not start without its secret.
SERVICE = f"test -r {ROOT}/secrets/api || exit 3; exec sleep 100000"
DENIED: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


@dataclass
class World:
    """An agent's keeper and two services that read secrets: one of ours, and one of others that runs as its own user."""

    api: docker.APIClient
    connection: Connection
    image: str
    agent: str
    keeper: str = ""
    services: dict[str, str] = field(default_factory=dict)
    canary: bytes = field(default_factory=lambda: b"canary-" + os.urandom(16).hex().encode())

    def vault(self, service: str) -> str:
        return f"{self.agent}_secrets-{service}"

    def make_volumes(self) -> None:
        self.api.create_volume(f"{self.agent}_keys", labels={"paictl.test": self.agent})
        for service, group in (("gateway", OURS), ("store", THEIRS)):
            options = {"type": "tmpfs", "device": "tmpfs", "o": f"size=1m,mode=2750,uid={OURS},gid={group}"}
            self.api.create_volume(self.vault(service), driver_opts=options, labels={"paictl.test": self.agent})

    def start_keeper(self, readers: dict[str, list[str]] | None = None) -> str:
        readers = readers or {"gateway": ["api", "token"], "store": ["api"]}
        config = f"{self.agent}_config-{uuid.uuid4().hex[:8]}"
        self.api.create_volume(config, labels={"paictl.test": self.agent})
        content = json.dumps({"services": readers, "generated": ["token"]})
        put_text(self.connection, config, self.image, {"keeper.json": content}, {"paictl.test.upload": self.agent})
        mounts = [Mount(f"{ROOT}/keys", f"{self.agent}_keys"), Mount(f"{ROOT}/config", config, read_only=True)]
        mounts += [Mount(f"{ROOT}/vault/{one}", self.vault(one), no_copy=True) for one in readers]
        command = ["/opt/paictl/venv/bin/python", "-m", "paictl.runtime.keeper", "hold"]
        made = self._start(command, OURS, mounts)
        until(lambda: b"holding" in self.api.logs(made), "the keeper holds")
        return made

    def start_service(self, name: str, user: int) -> None:
        mounts = [Mount(f"{ROOT}/secrets", self.vault(name), read_only=True, no_copy=True)]
        self.services[name] = self._start(["sh", "-c", SERVICE], user, mounts)

    def _start(self, command: list[str], user: int, mounts: list[Mount]) -> str:
        # A daemon that comes back from a crash ends its containers, and takes those with `unless-stopped` for stopped by hand.
        policy = {"Name": "always"}
        host = self.api.create_host_config(
            mounts=mounts, network_mode="none", init=True, restart_policy=policy, **DENIED
        )
        labels = {"paictl.test": self.agent}
        made = self.api.create_container(
            self.image, command=command, user=f"{user}:{user}", host_config=host, labels=labels
        )
        self.api.start(made["Id"])
        return str(made["Id"])

    def stand_up(self) -> None:
        self.make_volumes()
        self.keeper = self.start_keeper()
        secrets.make(self.connection, self.keeper, "token")
        secrets.put(self.connection, self.keeper, "api", "f1", self.canary)
        self.start_service("gateway", OURS)
        self.start_service("store", THEIRS)

    def status(self) -> dict[str, str]:
        return dict(secrets.status(self.connection, self.keeper))

    def read(self, service: str, name: str) -> bytes:
        done = run(self.connection, self.services[service], ["cat", f"{ROOT}/secrets/{name}"])
        assert done.code == 0, done.stderr
        return done.stdout

    def crash(self, container: str) -> None:
        """Kill its process, not the container, and wait until the engine has started it again."""
        before = self.api.inspect_container(container)["RestartCount"]
        run(self.connection, container, ["sh", "-c", "kill -9 -1"])
        until(lambda: self.api.inspect_container(container)["RestartCount"] > before, "it is started again")
        until(lambda: self.runs(container), "it runs again")

    def runs(self, container: str) -> bool:
        """One that waits to be started again is called running too."""
        state = self.api.inspect_container(container)["State"]
        return bool(state["Running"] and not state["Restarting"])

    def told(self) -> str:
        """Everything that the engine tells of it."""
        api: Any = self.api  # some of it has no types
        everything: list[object] = [api.inspect_image(self.image), api.history(self.image)]
        filters = {"label": [f"paictl.test={self.agent}"]}
        for one in self.api.containers(all=True, filters=filters):
            everything += [self.api.inspect_container(one["Id"]), self.api.logs(one["Id"]), self.api.diff(one["Id"])]
            everything += [self.api.top(one["Id"], "auxeww")] if one["State"] == "running" else []
        everything += [self.api.inspect_volume(one["Name"]) for one in self.api.volumes(filters=filters)["Volumes"]]
        everything += list(self.api.events(since=0, until=int(time.time()) + 1))
        return repr(everything)

    def clear(self) -> None:
        filters = {"label": [f"paictl.test={self.agent}"]}
        for one in self.api.containers(all=True, filters=filters):
            self.api.remove_container(one["Id"], force=True)
        for volume in self.api.volumes(filters=filters)["Volumes"] or ():
            self.api.remove_volume(volume["Name"])


@pytest.fixture(scope="module")
def image(engine: Reached) -> Iterator[str]:
    tag = build(engine.api)
    yield tag
    engine.api.remove_image(tag)


def build(api: docker.APIClient) -> str:
    tag = f"paictl-test/keeper:{uuid.uuid4().hex[:12]}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(DOCKERFILE)
        archive.addfile(entry, io.BytesIO(DOCKERFILE.encode()))
        for name in ("__init__.py", "runtime/__init__.py", "runtime/keeper.py"):
            archive.add(SOURCES / name, f"source/paictl/{name}")
    context.seek(0)
    build = api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        rm=True,
        network_mode="none",
        buildargs={"BASE": stock.base(api)},
        decode=True,
    )
    told = list(build)
    assert "error" not in told[-1], told[-1]
    return tag


@contextmanager
def new_world(api: docker.APIClient, image: str) -> Iterator[World]:
    made = World(api, connect(), image, f"paictl-test-{uuid.uuid4().hex[:8]}")
    try:
        yield made
    finally:
        made.clear()
        made.connection.close()


@pytest.fixture
def world(engine: Reached, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    with new_world(engine.api, image) as made:
        made.stand_up()
        yield made


@pytest.mark.promise(23)
def test_a_secret_reaches_every_service_that_reads_it_whatever_its_user_and_is_told_by_nothing(world: World) -> None:
    assert world.status() == {"api": "f1", "token": "generated"}
    assert world.read("gateway", "api") == world.read("store", "api") == world.canary
    assert len(world.read("gateway", "token")) == 43
    for service in world.services.values():
        assert run(world.connection, service, ["touch", f"{ROOT}/secrets/x"]).code != 0
        assert run(world.connection, service, ["cat", f"{ROOT}/secrets/api"], user="1234:1234").code != 0
    assert run(world.connection, world.services["store"], ["ls", f"{ROOT}/secrets"]).stdout == b"api\n"
    assert world.canary.decode() not in world.told()
    assert world.read("gateway", "token").decode() not in world.told()


def test_a_service_that_was_restarted_or_crashed_finds_its_secrets_again(world: World) -> None:
    for name, container in world.services.items():
        world.api.restart(container, timeout=0)
        world.crash(container)
        assert world.read(name, "api") == world.canary
    assert world.status() == {"api": "f1", "token": "generated"}


def test_a_keeper_that_crashed_beside_its_services_finds_everything_again(world: World) -> None:
    world.crash(world.keeper)
    assert world.status() == {"api": "f1", "token": "generated"}
    assert world.read("store", "api") == world.canary


def test_a_newer_keeper_that_stands_beside_the_old_one_loses_nothing(world: World) -> None:
    # Not even what belongs to a service that does not run just now.
    world.api.stop(world.services["store"], timeout=0)
    old, world.keeper = world.keeper, world.start_keeper()
    world.api.stop(old)
    world.api.remove_container(old)
    assert world.status() == {"api": "f1", "token": "generated"}
    world.api.start(world.services["store"])
    assert world.read("store", "api") == world.canary


def test_what_nobody_holds_is_absent_for_who_was_declared_and_there_again_for_who_was_generated(world: World) -> None:
    token = world.read("gateway", "token")
    for container in (*world.services.values(), world.keeper):
        world.api.stop(container, timeout=0)
    world.api.start(world.keeper)
    until(lambda: world.status() == {"token": "generated"}, "the generated one is there again")
    secrets.put(world.connection, world.keeper, "api", "f2", b"another")
    world.api.start(world.services["gateway"])
    assert (world.read("gateway", "token"), world.read("gateway", "api")) == (token, b"another")


def test_a_secret_altered_by_hand_is_told_and_dropped_when_asked(world: World) -> None:
    run(world.connection, world.keeper, ["sh", "-c", f"cd {ROOT}/vault/store && chmod 0600 api && echo x > api"])
    assert world.status()["api"] == secrets.ALTERED
    secrets.drop(world.connection, world.keeper, "api")
    assert world.status() == {"token": "generated"}


@pytest.mark.promise(4)
def test_a_keeper_that_does_not_run_is_an_error_and_not_an_empty_one(world: World) -> None:
    world.api.stop(world.keeper, timeout=0)
    with pytest.raises(Unreachable, match="does not tell what it holds"):
        world.status()
    broken = world.start_keeper()
    with pytest.raises(Unreachable, match="does not tell what it holds"):
        secrets.status(world.connection, world._start(["sleep", "1000"], OURS, []))
    assert secrets.status(world.connection, broken)


@pytest.mark.promise(23)
def test_what_the_keeper_refuses_is_told_without_the_value(world: World) -> None:
    for name, value in (("other", world.canary), ("api", world.canary * 10_000)):
        with pytest.raises(PaictlError, match=rf"the secret `{name}` is not with its services: ") as refused:
            secrets.put(world.connection, world.keeper, name, "f2", value)
        assert world.canary.decode() not in str(refused.value) + refused.value.help
    assert world.status()["api"] == "f1"
    assert world.canary.decode() not in world.told()


@pytest.mark.slow
@pytest.mark.promise(23)
def test_no_value_is_ever_on_the_engines_disk_and_its_restart_loses_what_was_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The engine that is given may not be restarted.
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if reason := lacking():
        pytest.skip(reason)
    # A socket's path has to be short.
    own = Engine(Path(tempfile.mkdtemp(prefix="paictl-vault-")))
    try:
        own.start()
        monkeypatch.setenv("DOCKER_HOST", own.host)
        api = docker.APIClient(base_url=own.host, version="auto", timeout=120)
        with new_world(api, build(api)) as world:
            world.stand_up()
            _check_restarts(world, own)
        api.close()
    finally:
        own.discard()


def _check_restarts(world: World, own: Engine) -> None:
    token = world.read("gateway", "token")
    assert not _holding(own, world.canary)
    assert not _processes(world.canary)
    own.restart()
    until(partial(world.runs, world.keeper), "the keeper runs again")
    until(lambda: world.status() == {"token": "generated"}, "the generated one is there again, the declared one absent")
    assert run(world.connection, world.keeper, ["cat", f"{ROOT}/vault/gateway/token"]).stdout == token
    assert not _holding(own, world.canary)
    # The services went on being tried, and find what is put now by themselves.
    secrets.put(world.connection, world.keeper, "api", "f1", world.canary)
    for name, container in world.services.items():
        until(partial(world.runs, container), "it runs again", 90)
        assert world.read(name, "api") == world.canary
    own.kill()
    own.serve()
    until(partial(world.runs, world.keeper), "the keeper runs after a crash of the engine")
    until(lambda: world.status() == {"token": "generated"}, "the same after a crash of the engine")
    world.clear()
    assert not _holding(own, world.canary)


def _holding(own: Engine, canary: bytes) -> list[str]:
    """The files on the engine's disk with the value; what is mounted there from memory is not seen from here."""
    data = own.directory / "data"
    device = data.stat().st_dev
    found = []
    for folder, folders, files in os.walk(data):
        folders[:] = [one for one in folders if os.lstat(Path(folder, one)).st_dev == device]
        paths = [path for path in (Path(folder, name) for name in files) if path.is_file() and not path.is_symlink()]
        found += [str(path) for path in paths if canary in path.read_bytes()]
    return found


def _processes(canary: bytes) -> list[str]:
    found = []
    for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
        try:
            found += [str(path)] if canary in path.read_bytes() else []
        except OSError:
            continue
    return found
