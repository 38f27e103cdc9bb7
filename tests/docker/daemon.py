"""One dockerd of the tests' own, in namespaces of its own, so that it disturbs no other engine and leaves nothing when it ends.

Used by ``engine`` for the lane's engine, and by tests that restart or kill a daemon. Touches only its own directory.

Two daemons in one network namespace flush each other's iptables chains when they start; so each has its own, with a way out
through slirp4netns. Its first process holds the namespaces: when that ends, the kernel ends the daemon, every container, every
mount and every network with it. Published ports are reached from inside (``entered``).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import psutil
from docker.errors import DockerException
from requests.exceptions import RequestException

from tests.waiting import until

__all__ = ["Engine", "answers"]

_SECONDS = 60
_ANSWER_SECONDS = 10
_GROUPS = Path("/sys/fs/cgroup")
_CLONE_NEWNET = 0x40000000
_NETWORK = ("--bip=172.19.255.1/24", "--default-address-pool=base=172.20.0.0/14,size=24", "--dns=10.0.2.3")
# What a daemon writes outside its data root lies on file systems that only it sees, and so do another daemon's settings not
# reach it. The pid that is written is the one of unshare, whose end the kernel passes on to the namespaces.
_HOLD = """
echo $$ >"$1"
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -ec '
  for own in /run/docker /run/containerd /etc/docker; do mkdir -p $own; mount -t tmpfs -o mode=0711 paictl-test $own; done
  [ "$2" = 0 ] || { mkdir -p "$3"; mount -t tmpfs -o size="$2"m paictl-test "$3"; }
  ip link set lo up
  exec docker-init -s -- sleep infinity' sh "$@"
"""


def answers(host: str) -> bool:
    """Whether an engine answers there."""
    if host.startswith("unix://"):
        return _pong(host.removeprefix("unix://"))
    try:
        client = docker.APIClient(base_url=host, version="auto", timeout=_ANSWER_SECONDS)
    except (DockerException, RequestException):
        return False
    client.close()
    return True


def _pong(path: str) -> bool:
    """Asked by hand: the SDK and httpx leave a socket open for the collector to warn of when nobody listens."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_ANSWER_SECONDS)
        try:
            asked.connect(path)
            asked.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in asked.recv(64)
        except OSError:
            return False


class Engine:
    """A daemon below ``directory``: its data root stays when it stops, so that images need be built only once.

    With ``megabytes`` its data root is a disk of that size, in memory, and gone when it stops. ``programs`` are folders whose
    dockerd and containerd are used instead of this machine's; ``flags`` are that daemon's, and with ``NAME=value`` its environment.
    """

    def __init__(
        self, directory: Path, megabytes: int = 0, programs: Sequence[Path] = (), flags: Sequence[str] = ()
    ) -> None:
        path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
        self._flags = [flag for flag in flags if flag.startswith("-")]
        self._environment = [f"PATH={path}", *(flag for flag in flags if not flag.startswith("-"))]
        self.directory = directory
        self.data = directory / "data"
        self._megabytes = megabytes
        self.host = f"unix://{directory}/docker.sock"
        self.log = directory / "dockerd.log"
        self._holder = directory / "holder.json"
        self._pidfile = directory / "dockerd.pid"
        self.group = f"paictl-test-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"

    @property
    def running(self) -> bool:
        return self._first_process() is not None and answers(self.host)

    def start(self) -> None:
        """Begin afresh: what an earlier one left running is ended first. Raises RuntimeError with the log's end."""
        self._end_namespaces()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        self._hold()
        self._detached(["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "1", "tap0"], "mp")
        self._wait(self._has_a_way_out, "a way out of the engine's network")
        self._serve()

    def stop(self) -> None:
        """End it as an administrator would, then everything that is still there."""
        self.signal(signal.SIGTERM)
        self._end_namespaces()

    def restart(self) -> None:
        """Stop the daemon, which ends the containers, and start it again, which restarts those with a policy to."""
        self.signal(signal.SIGTERM)
        self._serve()

    def kill(self) -> None:
        """End the daemon with SIGKILL; its containers run on. ``serve`` brings it back."""
        self.signal(signal.SIGKILL)

    def serve(self) -> None:
        """Start the daemon again after ``kill``."""
        self._serve()

    def discard(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread, and what it starts, into the engine's network, where 127.0.0.1 has the published ports."""
        first = self._first_process()
        assert first is not None, f"no engine runs below {self.directory}"
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{first.pid}/ns/net", os.O_RDONLY)
        try:
            _set_namespace(there)
            yield
        finally:
            _set_namespace(here)
            os.close(here)
            os.close(there)

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal that ends it, and wait until it has."""
        if self._first_process() is None or not self._pidfile.exists():
            return
        pid = int(self._pidfile.read_text(encoding="ascii"))
        self.inside(["sh", "-c", f"kill -{int(number)} {pid} 2>/dev/null"])
        self._wait(lambda: self.inside(["sh", "-c", f"kill -0 {pid} 2>/dev/null"]) != 0, "the daemon's end")
        self._pidfile.unlink(missing_ok=True)

    def _serve(self) -> None:
        daemon = [
            *("env", *self._environment, "dockerd", *self._flags),
            f"--host={self.host}",
            f"--data-root={self.data}",
            f"--pidfile={self._pidfile}",
        ]
        self._detached([*daemon, "--exec-root=/run/docker", f"--cgroup-parent=/{self.group}", *_NETWORK], "mnp")
        self._wait(lambda: answers(self.host), "an answer of dockerd")

    def _hold(self) -> None:
        pid = self.directory / "holder.pid"
        pid.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            command = ["setsid", "--fork", "sh", "-c", _HOLD, "sh", str(pid), str(self._megabytes), str(self.data)]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        self._wait(lambda: pid.exists() and pid.read_text(encoding="ascii").endswith("\n"), "the namespaces' holder")
        process = psutil.Process(int(pid.read_text(encoding="ascii")))
        # A pid alone may be somebody else's by the time that it is read again.
        self._holder.write_text(json.dumps([process.pid, process.create_time()]), encoding="ascii")
        self._wait(lambda: (first := self._first_process()) is not None and first.name() == "docker-init", "namespaces")

    def _held(self) -> psutil.Process | None:
        try:
            pid, created = json.loads(self._holder.read_text(encoding="ascii"))
            process = psutil.Process(pid)
            return process if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def _first_process(self) -> psutil.Process | None:
        """The one with pid 1 in the namespaces."""
        holder = self._held()
        return next(iter(holder.children()), None) if holder else None

    def _end_namespaces(self) -> None:
        holder, first = self._held(), self._first_process()
        for process in (first, holder):
            if process is not None:
                process.kill()
        gone = [process for process in (first, holder) if process is not None]
        _, alive = psutil.wait_procs(gone, timeout=_SECONDS)
        assert not alive, f"they don't end: {alive}"
        for name in (self._holder, self._pidfile, self.directory / "docker.sock"):
            name.unlink(missing_ok=True)
        self._remove_groups()

    def _remove_groups(self) -> None:
        """Control groups outlive their processes: below one root (version 2) or one a controller (version 1)."""
        for root in (_GROUPS, *(one for one in _GROUPS.iterdir() if one.is_dir())) if _GROUPS.is_dir() else ():
            for folder, _, _ in os.walk(root / self.group, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()

    def _has_a_way_out(self) -> bool:
        first = self._first_process()
        if first is None:
            return False
        routes = Path(f"/proc/{first.pid}/net/route").read_text(encoding="ascii").splitlines()
        return any(line.split()[:2] == ["tap0", "00000000"] for line in routes)

    def _enter(self, namespaces: str) -> list[str]:
        first = self._first_process()
        if first is None:
            raise RuntimeError(f"the engine's namespaces are gone; {self._told()}")
        return ["nsenter", f"--target={first.pid}", *(f"-{one}" for one in namespaces), "--"]

    def inside(self, command: list[str]) -> int:
        """Run a command where the daemon sees its files; its exit status."""
        return subprocess.run([*self._enter("mp"), *command], check=False).returncode

    def _detached(self, command: list[str], namespaces: str) -> None:
        with self.log.open("ab") as log:
            started = ["setsid", "--fork", *self._enter(namespaces), *command]
            subprocess.run(started, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)

    def _wait(self, true: Callable[[], bool], what: str) -> None:
        try:
            until(true, what, _SECONDS)
        except AssertionError as late:
            raise RuntimeError(f"{late}; {self._told()}") from late

    def _told(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return f"the end of {self.log}:\n" + "\n".join(lines[-15:])


def _set_namespace(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
