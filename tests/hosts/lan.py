"""A network of its own with hosts in it: the bridge, the way out to the package registries, and the supervisor that ends it all.

Used by the fixtures and by hand. The machine stands on the bridge, too, and reaches every host at its address.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.docker.debian import alone
from tests.hosts import roots, supervisor
from tests.waiting import until

__all__ = ["Lan", "Refused", "leased", "sweep", "version_2"]

_SECONDS = 60
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
# For tests of networks (RFC 2544): nobody else's addresses, and never routed.
_BLOCK = "198.19."
_RESOLVER = "10.0.2.3"
# The machine's clock, modules, raw devices and log are no business of a host, nor of a test on one.
_DENIED = "-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override,-wake_alarm"
_RULES = """
table bridge lan {
  set cut { type ifname; }
  chain forward { type filter hook forward priority 0; iifname @cut drop; oifname @cut drop; }
  chain input { type filter hook input priority 0; iifname @cut drop; }
  chain output { type filter hook output priority 0; oifname @cut drop; }
}
table ip lan {
  set online { type ipv4_addr; }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ip saddr @online oifname "tap0" accept
    iifname "tap0" ct state established,related accept
  }
  chain way { type nat hook postrouting priority 100; oifname "tap0" masquerade; }
}
"""


class Refused(RuntimeError):
    """A program in the network or on a host that failed."""


class Lan:
    """The one below ``directory``, which need not run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._digest = hashlib.sha256(str(directory).encode()).hexdigest()[:8]

    @property
    def group(self) -> Path:
        """The control group that all its hosts are below."""
        return version_2() / f"paictl-hosts-{self._digest}"

    @property
    def prefix(self) -> str:
        """The first three numbers of all its addresses."""
        return (self.directory / "prefix").read_text(encoding="ascii")

    @property
    def gateway(self) -> str:
        """Where its hosts send what is for others."""
        return f"{self.prefix}2"

    @property
    def resolver(self) -> str:
        """Who tells hosts that are online what names mean."""
        return _RESOLVER

    @property
    def running(self) -> bool:
        """Whether its namespaces exist."""
        return self._process("first") is not None

    def begin(self, users: Path | None) -> None:
        """Hold it until nobody has ``users`` locked, or until ``end``."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._groups()
        with (self.directory / "supervisor.log").open("ab") as log:
            command = [sys.executable, "-I", str(_SUPERVISOR), "hold", str(self.directory), str(self.group)]
            command += [str(users)] if users else []
            started = ["setsid", "--fork", *command]
            subprocess.run(started, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        until(lambda: self.running, f"the namespaces: see {self.directory}/supervisor.log", _SECONDS)
        with alone("hosts-links"):
            self._link()
        self._lead_out()

    def end(self) -> None:
        """End it, every host and everything below ``directory`` at once."""
        holder = self._process("holder")
        if holder is not None:
            holder.terminate()
            gone, _ = psutil.wait_procs([holder], timeout=_SECONDS)
            assert gone, f"it does not end: {holder}"

    def forget(self) -> None:
        """Remove what was left behind of one that nobody holds any more."""
        try:
            with (self.directory / "held.lock").open("r+", encoding="ascii") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                supervisor.clear(self.directory, self.group)
        except (BlockingIOError, FileNotFoundError):
            return

    @property
    def first(self) -> int:
        """The process that everything in it ends with."""
        first = self._process("first")
        if first is None:
            raise Refused("the hosts' network is gone")
        return first.pid

    def enter(self) -> list[str]:
        """What a command has to begin with to run in it, as root, but never with power over the whole machine."""
        return [
            "setpriv",
            f"--bounding-set={_DENIED}",
            "nsenter",
            f"--target={self.first}",
            "-m",
            "-n",
            "-p",
            "--wd=/",
            "--",
        ]

    def run(self, command: Sequence[str], given: str | None = None) -> str:
        """Run one of the machine's programs in it, and return what it said."""
        done = subprocess.run([*self.enter(), *command], input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, command: Sequence[str], log: Path) -> None:
        """Start one of the machine's programs in it, which goes on until it or the network ends."""
        with log.open("ab") as file:
            started = ["setsid", "--fork", *self.enter(), *command]
            subprocess.run(started, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True)

    def _process(self, name: str) -> psutil.Process | None:
        try:
            told = json.loads((self.directory / "first.json").read_text(encoding="ascii"))
            process = psutil.Process(told[name])
            # A pid alone may be somebody else's by now.
            return process if str(self.directory) in process.cmdline() else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def _groups(self) -> None:
        """One for its hosts, with every controller that can be had."""
        self.group.mkdir(exist_ok=True)
        for folder in (self.group.parent, self.group):
            for controller in (folder / "cgroup.controllers").read_text(encoding="ascii").split():
                # Not below a group with processes of its own, as a container's root is.
                subprocess.run(
                    ["sh", "-c", f"echo +{controller} >{folder}/cgroup.subtree_control"],
                    stderr=subprocess.DEVNULL,
                    check=False,
                )

    def _link(self) -> None:
        used = {one.address for each in psutil.net_if_addrs().values() for one in each}
        number = next(number for number in range(256) if f"{_BLOCK}{number}.1" not in used)
        (self.directory / "prefix").write_text(f"{_BLOCK}{number}.", encoding="ascii")
        ours = f"paih{self._digest}"
        self.run(
            ["sh", "-ec", f"ip link add lan type bridge; ip address add {self.gateway}/24 dev lan; ip link set lan up"]
        )
        made = f"ip link add {ours} type veth peer name machine netns {self.first}"
        for command in (made, f"ip address add {self.prefix}1/24 dev {ours}", f"ip link set {ours} up"):
            subprocess.run(command.split(), check=True)
        self.run(["ip", "link", "set", "machine", "master", "lan", "up"])

    def _lead_out(self) -> None:
        self.run(["nft", "-f", "-"], _RULES)
        # What stays on the bridge is no business of the rules for what leaves it, where the kernel would make it one.
        bridge = "/proc/sys/net/bridge/bridge-nf-call-iptables"
        forward = "/proc/sys/net/ipv4/ip_forward"
        self.run(["sh", "-ec", f"echo 1 >{forward}; if [ -e {bridge} ]; then echo 0 >{bridge}; fi"])
        # Of the namespaces it has all but the network: that is the machine's, so that it is the way out, and ends with the others.
        within = [one for one in self.enter() if one != "-n"]
        command = ["slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback", "1", "tap0"]
        with (self.directory / "slirp4netns.log").open("ab") as log:
            started = ["setsid", "--fork", *within, *command]
            subprocess.run(started, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        until(lambda: "tap0" in self.run(["ip", "-brief", "link"]), "a way out of the hosts' network", _SECONDS)


def version_2() -> Path:
    """Where control groups of version 2 are mounted."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise Refused("no control groups of version 2 are mounted")


@contextmanager
def leased() -> Iterator[Lan]:
    """One for this process alone; it ends with it, however that ends."""
    sweep()
    lan = Lan(roots.home() / "runs" / secrets.token_hex(4))
    lan.directory.mkdir(parents=True)
    with (lan.directory / "users.lock").open("a", encoding="ascii") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        lan.begin(lan.directory / "users.lock")
        try:
            yield lan
        finally:
            lan.end()


def sweep() -> None:
    """Remove what was left behind where even the supervisor was killed."""
    for directory in (roots.home() / "runs").glob("*"):
        Lan(directory).forget()
