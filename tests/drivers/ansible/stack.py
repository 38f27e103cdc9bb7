"""A small stack of real units for the tests of the driver: data, a secret, two services; an agent of its own on a host that many share."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from paictl.drivers.ansible.driver import AnsibleDriver
from paictl.drivers.ansible.hosts import Hosts, Login, nobody
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Probe, Resource
from tests.hosts.host import Host

__all__ = ["BUILD", "Shared", "Stack", "hosts_of", "let_in", "made_stack", "with_build"]

BUILD = "small"
"""A build that is on the host already: these services need no venv."""

_TARGET = "here"
# Says what it is to say, answers 200 on its socket, and waits.
_PROGRAM = """\
import http.server, os, socket, sys
os.chdir("/")
class Door(http.server.HTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "door", 0
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(SAY.encode())
    def address_string(self):
        return "somebody"
    def log_message(self, *_):
        pass
print(SAY, flush=True)
path = os.environ["DOOR"]
if os.path.exists(path):
    os.unlink(path)
Door(path, Answer).serve_forever()
"""
_UNIT = """\
[Unit]
Description=paictl: {agent}, {name}
StartLimitIntervalSec=0

[Service]
Type=exec
User=paictl-{agent}
Group=paictl-{agent}
Environment=DOOR=/run/paictl/{agent}/{name}/http.sock
ExecStart=/usr/bin/python3 -I /srv/{name}.py
Restart=always
RestartSec=1
TimeoutStopSec=5
SetCredential=made-of:{made_of}
{secrets}
TemporaryFileSystem=/srv /var/lib/paictl
BindReadOnlyPaths=/etc/paictl/{agent}/config/{name}.py:/srv/{name}.py
{data}
ProtectSystem=strict
ReadWritePaths=/run/paictl/{agent}/{name}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
MemoryMax=64M
TasksMax=16

[Install]
WantedBy=paictl-{agent}.target
"""
_TARGET_UNIT = """\
[Unit]
Description=paictl: {agent}

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Shared:
    """A host that tests share, and how paictl reaches it."""

    host: Host
    reached: Hosts
    _made: ClassVar[list[Shared]] = []

    @classmethod
    def now(cls) -> Shared:
        """The session's, which a fixture has made."""
        return cls._made[-1]

    def __enter__(self) -> Self:
        self._made.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._made.remove(self)


@dataclass
class Stack:
    """One agent's resources on hosts that others use, too. ``say`` is what each service prints when it starts, and answers."""

    hosts: Sequence[Host]
    reached: Hosts
    agent: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    say: dict[str, str] = field(default_factory=lambda: {"gateway": "hello", "agent": "hello"})
    programs: dict[str, str] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        return Scope(self.agent, _TARGET)

    @property
    def host(self) -> Host:
        return self.hosts[0]

    def driver(self) -> AnsibleDriver:
        """A connection of its own, as another process has."""
        return AnsibleDriver(self.reached)

    def secrets(self, name: str) -> bytes:
        return f"the value of {name} of {self.agent}".encode()

    def unit(self, name: str) -> str:
        """What a service is called by systemd."""
        return f"paictl-{self.agent}-{name}.service"

    def address(self, short: str) -> Address:
        kind, _, name = short.partition("/")
        return Address(_TARGET, "ansible", kind, name)

    def resources(self, host: Host | None = None, suffix: str = "") -> list[Resource]:
        """Dependencies first, all on one host; ``suffix`` tells them from the same on another."""
        where = (host or self.host).name
        build, data, extra = f"runtime/{BUILD}{suffix}", f"volume/memory{suffix}", f"secret/extra{suffix}"
        gateway = f"service/gateway{suffix}"
        return [
            self.made(build, where, {"target": _TARGET_UNIT.format(agent=self.agent)}),
            self.made(data, where, {"path": f"data/memory{suffix}"}, build, holds_data=True),
            self.made(extra, where, {"secret": "extra", "generated": False, "content": "k1:00"}, build),
            self.service(gateway, where, build, data),
            self.service(f"service/agent{suffix}", where, build, gateway),
        ]

    def service(self, short: str, where: str, *needs: str, reads: Sequence[str] = ()) -> Resource:
        """One that answers on a socket of its own."""
        name = short.partition("/")[2]
        stem = f"paictl-{self.agent}-{name}"
        say = self.say.get(name, "hello")
        program = self.programs.get(name, f"SAY = {say!r}\n{_PROGRAM}")
        data = [one.partition("/")[2] for one in needs if one.startswith("volume/")]
        lib = f"/var/lib/paictl/{self.agent}/data"
        words = {
            "agent": self.agent,
            "name": name,
            "secrets": "\n".join(f"LoadCredential={one}:/etc/paictl/{self.agent}/secrets/{one}" for one in reads),
            "data": "\n".join(f"BindPaths={lib}/{one}" for one in data),
        }
        bare = _UNIT.format(**words, made_of="")
        made_of = hashlib.sha256(f"{bare}{program}".encode()).hexdigest()[:16]
        run = f"/run/paictl/{self.agent}"
        user = f"paictl-{self.agent}"
        spec = {
            "unit": f"{stem}.service",
            "text": _UNIT.format(**words, made_of=made_of),
            "configs": {f"/etc/paictl/{self.agent}/config/{name}.py": program},
            "tmpfiles": f"d /run/paictl 0755 root root\nd {run} 0755 root root\nd {run}/{name} 0700 {user} {user}\n",
            "service": {"name": name, "configs": [f"{name}.py"], "secrets": list(reads)},
            "runtime": BUILD,
            "secrets": {},
            "check": {"socket": f"{run}/{name}/http.sock", "path": "/"},
        }
        return self.made(short, where, spec, *needs, probe=Probe(30.0, 0.0), downtime=True)

    def made(self, short: str, where: str, content: Mapping[str, Any], *needs: str, **more: Any) -> Resource:
        """The resource of these words."""
        words = {"runtime_agent": self.agent, "runtime_user": f"paictl-{self.agent}", "runtime_build": BUILD}
        spec = {"agent": self.agent, "host": where, "vars": words, "drift": {}, **content}
        wanted = tuple(self.address(one) for one in needs)
        return Resource(self.address(short), json.loads(json.dumps(spec)), wanted, place=where, **more)

    def leftovers(self) -> list[str]:
        """Everything of the agent's on any host: files anywhere but in logs, units, its user, its processes."""
        found = [f"{host.name}: {line}" for host in self.hosts for line in _left(host, self.agent)]
        return sorted(found)

    def clear(self) -> None:
        """Away with it, whatever it came to."""
        for host in self.hosts:
            if host.boots():
                host.exec(["sh", "-c", _CLEAR, "sh", self.agent])


_LEFT = """
find / -xdev -name "*$1*" ! -path "/var/log/*" ! -path "/proc/*" ! -path "/sys/*" 2>/dev/null
find /run -name "*$1*" 2>/dev/null
getent passwd "paictl-$1"; getent group "paictl-$1"
systemctl list-units --all --plain --no-legend "paictl-$1*"
pgrep --list-full --full "$1" | grep -v "pgrep\\|sh -c" || true
"""
_CLEAR = """
systemctl stop "paictl-$1*" 2>/dev/null
find / -xdev -name "*$1*" ! -path "/var/log/*" ! -path "/proc/*" ! -path "/sys/*" -prune -exec rm -rf {} +
find /run -xdev -name "*$1*" -prune -exec rm -rf {} +
systemctl daemon-reload; systemctl reset-failed
userdel "paictl-$1" 2>/dev/null; true
"""


def _left(host: Host, agent: str) -> list[str]:
    said = host.exec(["sh", "-c", _LEFT, "sh", agent])
    return [line for line in said.splitlines() if line.strip()]


def let_in(host: Host, state: Path) -> Login:
    """A key of ours opens the host, and its own key is known."""
    key = Hosts({}, nobody, state).own_key(host.name)
    if not key.exists():
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "paictl", "-f", str(key)], check=True)
        home = f"/home/{host.user}/.ssh"
        script = f"umask 077; mkdir -p {home}; cat >>{home}/authorized_keys; chown -R {host.user}: {home}"
        host.exec(["sh", "-ec", script], Path(f"{key}.pub").read_text(encoding="ascii"))
    return Login(host.name, host.address, host.user, host.port, host.host_key)


def hosts_of(hosts: Sequence[Host], state: Path, password: Callable[[Host], str | None] | None = None) -> Hosts:
    """As paictl reaches them: by key, with sudo's password."""
    by_name = {host.name: host for host in hosts}

    def passwords(name: str, use: Literal["login", "become", "asked"]) -> str | None:
        if use != "become" or name not in by_name:
            return None
        return password(by_name[name]) if password else by_name[name].password

    return Hosts({host.name: let_in(host, state) for host in hosts}, passwords, state)


def with_build(host: Host) -> None:
    """Put a build there that is whole, so that none is installed."""
    mark = Path(__file__).parents[3] / "roles/runtime/files/whole.py"
    folder = f"/opt/paictl/runtime/{BUILD}"
    host.exec(["mkdir", "-p", folder])
    host.exec(["python3", "-", folder, "--mark"], mark.read_text(encoding="utf-8"))


@contextmanager
def made_stack(hosts: Sequence[Host], reached: Hosts) -> Iterator[Stack]:
    """A stack for an agent of its own, gone afterwards."""
    stack = Stack(hosts, reached)
    try:
        yield stack
    finally:
        stack.clear()
