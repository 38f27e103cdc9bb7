"""Namespaces of a cluster's own, and the servers that run in them: their logs, their ends, and the one address to the outside.

Used by ``cluster`` and ``node``. A pair of connected interfaces leads in; nothing leads on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.docker.debian import alone
from tests.waiting import until

__all__ = ["Namespaces"]

_SECONDS = 60
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
# For tests of networks (RFC 2544): nobody else's addresses, and never routed. A link has four of them.
_LINKS = 64
_RUN = 'echo $$ >"$0"; exec "$@"'


class Namespaces:
    """Those of the cluster below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        digest = hashlib.sha256(str(directory).encode()).hexdigest()
        self.group = f"paictl-test-{digest[:8]}"
        self._interface = f"paik{digest[:8]}"
        self._logs = directory / "logs"

    @property
    def address(self) -> str:
        """Where the servers are reached."""
        return (self.directory / "address").read_text(encoding="ascii")

    def begin(self, users: Path | None) -> None:
        """Hold them until nobody has ``users`` locked, or until ``end``."""
        self.end()
        self._logs.mkdir(parents=True, exist_ok=True)
        for earlier in self._logs.iterdir():
            earlier.unlink()
        with self._log("supervisor").open("ab") as log:
            command = [sys.executable, "-I", str(_SUPERVISOR), "hold", str(self.directory), self.group]
            command += [str(users)] if users else []
            started = ["setsid", "--fork", *command]
            subprocess.run(started, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        self.wait(lambda: self.first() is not None, "the namespaces")
        with alone("kubernetes-links"):
            self._link()

    def end(self) -> None:
        """End everything in them at once."""
        holder = self._process("holder")
        if holder is not None:
            holder.terminate()
            gone, _ = psutil.wait_procs([holder], timeout=_SECONDS)
            assert gone, f"it does not end: {holder}"
        (self.directory / "first.json").unlink(missing_ok=True)

    def first(self) -> psutil.Process | None:
        """The process that everything in the namespaces ends with."""
        return self._process("first")

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a server; what it says goes to its log."""
        with self._log(name).open("ab") as log:
            within = [*self._enter(), "sh", "-c", _RUN, str(self._pidfile(name)), *command]
            subprocess.run(["setsid", "--fork", *within], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        self.wait(lambda: self._pid(name) != 0, f"{name}'s process")

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a server a signal that ends it, and wait until it has."""
        pid = self._pid(name)
        self.run(["sh", "-c", f"kill -{int(number)} {pid} 2>/dev/null || true"])
        self.wait(lambda: self.run(["sh", "-c", f"kill -0 {pid}"], check=False).returncode != 0, f"the end of {name}")
        self._pidfile(name).unlink(missing_ok=True)

    def run(
        self, command: Sequence[str], *, check: bool = True, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in them until it ends."""
        done = subprocess.run([*self._enter(), *command], input=given, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done

    def wait(self, true: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
        """Wait until it is true; otherwise tell the ends of all logs."""
        try:
            until(true, what, seconds)
        except AssertionError as late:
            raise RuntimeError(f"{late}; {self._told()}") from late

    def _process(self, name: str) -> psutil.Process | None:
        try:
            told = json.loads((self.directory / "first.json").read_text(encoding="ascii"))
            process = psutil.Process(told[name])
            # A pid alone may be somebody else's by now.
            return process if str(self.directory) in process.cmdline() else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def _enter(self) -> list[str]:
        first = self.first()
        if first is None:
            raise RuntimeError(f"the cluster's namespaces are gone; {self._told()}")
        return ["nsenter", f"--target={first.pid}", "-m", "-n", "-p", "--wd=/", "--"]

    def _link(self) -> None:
        first = self.first()
        assert first is not None
        used = {
            address.address
            for addresses in psutil.net_if_addrs().values()
            for address in addresses
            if address.address.startswith("198.18.0.")
        }
        free = next(4 * link for link in range(_LINKS) if f"198.18.0.{4 * link + 1}" not in used)
        ours, theirs = f"198.18.0.{free + 1}", f"198.18.0.{free + 2}"
        made = f"ip link add {self._interface} type veth peer name node0 netns {first.pid}"
        for command in (made, f"ip address add {ours}/30 dev {self._interface}", f"ip link set {self._interface} up"):
            subprocess.run(command.split(), check=True)
        for command in (f"ip address add {theirs}/30 dev node0", "ip link set node0 up"):
            self.run(command.split())
        (self.directory / "address").write_text(theirs, encoding="ascii")

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _pidfile(self, name: str) -> Path:
        return self._logs / f"{name}.pid"

    def _pid(self, name: str) -> int:
        """As it is known in the namespaces; 0 while it is not."""
        path = self._pidfile(name)
        told = path.read_text(encoding="ascii") if path.exists() else ""
        return int(told) if told.endswith("\n") else 0

    def _told(self) -> str:
        ends = []
        for log in sorted(self._logs.glob("*.log"), key=os.path.getmtime):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            ends.append(f"the end of {log}:\n" + "\n".join(line[:400] for line in lines[-8:]))
        return "\n".join(ends)
