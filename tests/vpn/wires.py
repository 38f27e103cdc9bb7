"""Two ends of a WireGuard for the tests: the program that stands before a gateway, and peers, all as plain processes."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.ports import free_port
from tests.vpn.build import peer, program
from tests.waiting import until

__all__ = ["Door", "Key", "Peer", "gateway", "opened"]

DOOR = "10.87.0.1"
_NOBODY = 65532


@dataclass(frozen=True)
class Key:
    """A pair of keys."""

    private: bytes = field(default_factory=lambda: X25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> str:
        return base64.b64encode(
            X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()
        ).decode()


@dataclass(frozen=True)
class Peer:
    """One that knows the door's public key and where it is; ``path`` is its configuration, as wg-quick reads it."""

    path: Path

    @classmethod
    def made(cls, folder: Path, key: Key, address: str, door: str, endpoint: str) -> Peer:
        path = folder / f"{address}.conf"
        private = base64.b64encode(key.private).decode()
        path.write_text(
            f"[Interface]\nPrivateKey = {private}\nAddress = {address}/32\nMTU = 1280\n\n"
            f"[Peer]\nPublicKey = {door}\nEndpoint = {endpoint}\nAllowedIPs = 10.87.0.0/24\n",
            encoding="ascii",
        )
        return cls(path)

    def tried(self, *places: str) -> dict[str, str]:
        """What came of a connection to each place."""
        done = subprocess.run(
            [str(peer()), str(self.path), "try", *places], capture_output=True, text=True, timeout=60, check=True
        )
        return dict(line.split(" ", 1) for line in done.stdout.splitlines())

    @contextmanager
    def forwarded(self, place: str) -> Iterator[str]:
        """``HOST:PORT`` here that leads there."""
        running = subprocess.Popen([str(peer()), str(self.path), "forward", place], stdout=subprocess.PIPE, text=True)
        try:
            assert running.stdout is not None
            yield running.stdout.readline().strip()
        finally:
            running.kill()
            running.communicate()


@dataclass
class Door:
    """The program, serving in front of ``target``."""

    folder: Path
    target: str
    peers: Mapping[str, tuple[Key, str]]
    key: Key = field(default_factory=Key)
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[str] | None = None

    @property
    def configuration(self) -> Path:
        return self.folder / "vpn.json"

    def written(self) -> None:
        secret = self.folder / "vpn-key"
        # As paictl makes secrets: URL-safe.
        secret.write_bytes(base64.urlsafe_b64encode(self.key.private))
        os.chown(secret, _NOBODY, _NOBODY)
        secret.chmod(0o400)
        content: dict[str, Any] = {
            "listen": self.port,
            "address": DOOR,
            "port": 8700,
            "target": f"tcp:{self.target}",
            "key_file": str(secret),
            "peers": {
                name: {"public_key": key.public, "address": address} for name, (key, address) in self.peers.items()
            },
        }
        self.configuration.write_text(json.dumps(content), encoding="utf-8")

    def command(self, *more: str) -> list[str]:
        return [str(self.folder / "vpn"), *more, str(self.configuration)]

    def start(self) -> None:
        self.written()
        self.running = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **_unprivileged()
        )
        until(self.healthy, "the VPN's port")

    def healthy(self) -> bool:
        return subprocess.run(self.command("--healthy"), capture_output=True, check=False).returncode == 0

    def end(self) -> str:
        """End it as an engine does; what it had said."""
        assert self.running is not None
        self.running.terminate()
        return self.running.communicate(timeout=10)[0]


def _unprivileged() -> dict[str, Any]:
    """As nobody where the tests are root; else as who they are, who is nobody much either."""
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def opened(target: str, peers: Mapping[str, tuple[Key, str]]) -> Iterator[Door]:
    """The program in front of ``target``, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="paictl-vpn-") as folder:
        # Where nobody may go: the tests' own folders are for their user alone.
        Path(folder).chmod(0o755)
        shutil.copy(program(), Path(folder, "vpn"))
        door = Door(Path(folder), target, peers)
        try:
            door.start()
            yield door
        finally:
            if door.running is not None and door.running.poll() is None:
                door.running.kill()
                door.running.communicate()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(f"hello from the gateway, {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gateway() -> Iterator[str]:
    """``HOST:PORT`` of a server that says who it is, and gives back what it is sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
