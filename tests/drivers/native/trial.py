"""A service for the tests, run from the agent's environment: answers HTTP where its configuration says, or fails on request."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import FrameType
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    config: dict[str, Any]

    def address_string(self) -> str:
        return "peer"

    def log_request(self, code: object = "-", size: object = "-") -> None:
        sys.stdout.write(f"asked {self.path}\n")

    def do_GET(self) -> None:
        answer = {
            "pid": os.getpid(),
            "config": self.config,
            "secrets": sorted(one.name for one in Path("secrets").iterdir()),
        }
        answers = self.config.get("answers", {})
        self.send_response(int(answers.get(self.path, self.config.get("status", 200))))
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path)
    parser.add_argument("--config", type=Path)
    asked = parser.parse_args()
    os.chdir(asked.root)
    config = json.loads(asked.config.read_bytes())
    print(f"begins {config.get('say', '')}", flush=True)  # noqa: T201 - its log is what the tests read
    if "exit" in config:
        sys.exit(config["exit"])
    if "database" in config:
        _hold(config["database"])
    signal.signal(signal.SIGTERM, _end)
    if "listen" not in config:
        threading.Event().wait()
    _serve(config)


def _hold(path: str) -> None:
    """Two of these at once on one file is what must never be: the second one says so and ends."""
    import fcntl

    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with Path(f"{path}.starts").open("a") as file:
        file.write(f"{time.time()}\n")


def _serve(config: dict[str, Any]) -> None:
    handler = type("Handler", (_Handler,), {"config": config})
    scheme, _, place = config["listen"].partition(":")
    if scheme == "unix":
        Path(place).unlink(missing_ok=True)
        with _Unix(place, handler) as server:
            server.serve_forever()
    else:
        host, _, port = place.rpartition(":")
        with _Tcp((host, int(port)), handler) as server:
            server.serve_forever()


def _end(number: int, frame: FrameType | None) -> None:
    print("ends politely", flush=True)  # noqa: T201
    with contextlib.suppress(OSError), socket.socket() as _:
        sys.exit(0)


if __name__ == "__main__":
    main()
