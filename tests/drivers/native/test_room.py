"""The room, tried from inside: everything but its one door fails, and nothing of the person's is to be seen."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paictl.sandbox import namespaces
from tests.drivers.native.conftest import World

pytestmark = pytest.mark.real

_TRY = """
import json, os, socket, sys
asked = json.loads(sys.argv[1])
def connect(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"
def door(path):
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect(path)
        except OSError as error:
            return type(error).__name__
    return "connected"
def lookup(name):
    try:
        return socket.getaddrinfo(name, 80)[0][4][0]
    except OSError as error:
        return type(error).__name__
def write(path):
    try:
        with open(path, "w"): pass
    except OSError as error:
        return error.strerror
    os.unlink(path)
    return "written"
def see(top):
    return sorted(os.path.join(folder, one) for folder, folders, files in os.walk(top) for one in files)
json.dump({
    "addresses": [connect(*one) for one in asked.get("addresses", [])],
    "names": [lookup(one) for one in asked.get("names", [])],
    "doors": {one: door(one) for one in asked.get("doors", [])},
    "writes": {one: write(one) for one in asked.get("writes", [])},
    "exists": [one for one in asked.get("paths", []) if os.path.exists(one)],
    "files": see("/paictl"),
    "top": sorted(os.listdir("/")),
    "etc": sorted(os.listdir("/etc")),
    "processes": sorted(int(one) for one in os.listdir("/proc") if one.isdigit()),
    "environment": dict(os.environ),
    "who": [os.getuid(), os.getgid()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapBnd"))],
    "no_new_privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")],
    "links": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
}, sys.stdout)
"""


def tried(world: World, service: str, **asked: object) -> Mapping[str, Any]:
    command = ["python", "-I", "-", json.dumps(asked)]
    result = world.driver.run_in_room(world.blueprint, service, command, stdin=_TRY.encode())
    assert result.code == 0, result.stderr.decode()
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def _answer(server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed, and nobody came: as it should be
        server.accept()[0].close()


@contextmanager
def neighbour() -> Iterator[int]:
    """A server of this machine that the room must not reach, on TCP and in the abstract namespace."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.promise(24)
def test_no_address_no_name_and_no_other_socket_answers_from_inside_the_room(confined: World) -> None:
    confined.stand_up()
    _, public = confined.blueprint.public
    with neighbour() as port, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0paictl-test-{port}")
        abstract.listen()
        addresses = [("127.0.0.1", port), ("127.0.0.1", public.port), ("169.254.169.254", 80), ("192.0.2.1", 443)]
        found = tried(
            confined,
            "room",
            addresses=addresses,
            names=["example.org", "localhost.localdomain"],
            doors=["run/inner/http.sock", f"\0paictl-test-{port}", str(confined.layout.socket)],
        )
    assert "connected" not in found["addresses"]
    assert found["names"] == ["gaierror", "gaierror"]
    assert found["doors"] == {
        "run/inner/http.sock": "connected",
        f"\0paictl-test-{port}": "ConnectionRefusedError",
        str(confined.layout.socket): "FileNotFoundError",
    }


def test_the_room_holds_what_its_service_declares_and_nothing_else(confined: World, tmp_path: Path) -> None:
    confined.stand_up()
    found = tried(
        confined, "room", paths=[str(tmp_path), "/root", "/home", "/run", "/var", "/etc/passwd", "/etc/resolv.conf"]
    )
    assert found["exists"] == []
    assert found["files"] == ["/paictl/config/room/room.json", "/paictl/run/inner/http.sock"]
    assert found["etc"] == ["ld.so.cache"]
    assert set(found["top"]) <= {
        *("bin", "dev", "etc", "lib", "lib32", "lib64", "paictl", "proc", "python", "sbin", "sys", "tmp", "usr", "venv")
    }
    assert len(found["processes"]) == 2


def test_what_runs_in_a_room_has_no_rights_and_a_clean_environment(
    confined: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-canary-of-the-person")
    confined.stand_up()
    found = tried(confined, "room")
    # In a chroot root makes the room without a user namespace: root by name, and no right of root's (the decision on rooms).
    assert found["who"] == ([1000, 1000] if namespaces().own_user else [0, 0])
    *held, bound = found["capabilities"]
    assert held == ["0" * 16] * 2
    # What could be gained at most; no_new_privs, below, keeps it from being gained in root's way.
    assert bound == "0" * 16 or not namespaces().own_user
    assert found["no_new_privileges"] == ["1"]
    assert "ANTHROPIC_API_KEY" not in found["environment"]
    for process in Path("/proc").iterdir():
        if process.name == confined.observed("service/room").handle.partition(":")[0]:
            assert b"a-canary-of-the-person" not in (process / "environ").read_bytes()


def test_only_the_service_s_own_folders_can_be_written(confined: World) -> None:
    confined.stand_up()
    paths = ["/paictl/data/room/x", "/tmp/x", "/paictl/config/room/room.json", "/paictl/run/inner/x"]
    paths += ["/x", "/paictl/x", "/usr/x", "/etc/x", "/venv/x", "/dev/x", "/proc/sys/kernel/hostname"]
    written = {
        path for path, outcome in tried(confined, "room", writes=paths)["writes"].items() if outcome == "written"
    }
    assert written == {"/paictl/data/room/x", "/tmp/x"}


def test_the_door_s_room_has_the_network_and_still_none_of_the_person_s_paths(confined: World, tmp_path: Path) -> None:
    confined.stand_up()
    with neighbour() as port:
        found = tried(
            confined, "door", addresses=[("127.0.0.1", port)], paths=[str(tmp_path), "/root/.ssh", "/etc/shadow"]
        )
    assert found["addresses"] == ["connected"]
    assert found["exists"] == []
    assert "resolv.conf" in found["etc"]
    assert found["files"] == ["/paictl/config/door/door.json", "/paictl/secrets/declared", "/paictl/secrets/token"]


def test_nothing_is_left_of_a_command_in_a_room(confined: World) -> None:
    confined.stand_up()
    before = confined.addresses()
    result = confined.driver.run_in_room(confined.blueprint, "room", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (result.code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert confined.addresses() == before
    assert confined.differences() == []


def test_a_service_in_its_room_is_asked_to_end_and_ends_in_its_own_time(confined: World) -> None:
    confined.stand_up()
    confined.config("inner", say="again")
    for address in ("file/config/inner/inner.json", "service/inner"):
        confined.make(confined.resource(address))
    confined.wait(confined.resource("service/inner"))
    lines = list(confined.driver.logs(confined.scope, "inner", tail=50, follow=False))
    assert "ends politely" in lines
    assert lines.index("ends politely") < lines.index("begins again")


def test_a_room_can_t_hold_more_processes_or_files_than_its_limits(confined: World) -> None:
    confined.stand_up()
    pid = next(
        process
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and b"paictl_trial\0--root\0/paictl\0--config\0config/inner" in _command(process)
        and b"bwrap" not in _command(process).split(b"\0")[0]
    )
    limits = {line[:26].strip(): line[26:].split()[0] for line in (pid / "limits").read_text().splitlines()}
    assert limits["Max open files"] == "4096"
    if namespaces().own_user:
        assert limits["Max processes"] == "256"


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
