"""Containers to try things in, and processes of their own that use the driver. Used by the tests of the driver's connection."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors

from paictl.drivers.docker.connection import Connection

__all__ = ["IMAGE", "ROOT", "SERVE", "running", "started"]

IMAGE = "paictl-test/base:bookworm"
"""Debian with Python and a shell; the lane provides it."""

ROOT = Path(__file__).parents[2]

SERVE = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for number in range(3 if self.path == "/three" else 100000):
                self.wfile.write(b"data: %d\\n\\n" % number)
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            print("gone", flush=True)
        self.close_connection = True
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""


@contextmanager
def running(connection: Connection, command: Sequence[str], **host: Any) -> Iterator[str]:
    """A container that runs the command, by its id."""
    api = connection.api
    label = {"paictl.test": "trial"}
    name = f"paictl-test-{uuid.uuid4().hex[:12]}"
    settings = api.create_host_config(init=True, **host)
    made = str(api.create_container(IMAGE, list(command), name=name, labels=label, host_config=settings)["Id"])
    try:
        api.start(made)
        yield made
    finally:
        with suppress(docker.errors.NotFound):  # a test may have removed it
            api.remove_container(made, force=True, v=True)


@contextmanager
def started(
    script: str, *arguments: str, before: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own that runs the script; killed at the end."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
