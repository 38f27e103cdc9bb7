"""Sockets to a Docker engine: local, TCP, TLS, or through the person's own ssh. Called by ``transport`` and ``connection``.

The SDK's own ssh needs paramiko or overrules the port of the person's configuration, and can't close one half of a
connection; here every way gives a real socket, with timeouts and with a half-close that arrives over there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import SplitResult, urlsplit

from paictl.drivers.docker.endpoint import Endpoint
from paictl.drivers.docker.half_close import tunnel

__all__ = ["Dialler"]

_CONNECT_SECONDS = 10.0
_END_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0


@dataclass
class _Ssh:
    """The ssh programs that were started, each with what it says on its standard error."""

    running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    said: str = ""

    def add(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.collect()
        with self.lock:
            self.running.append((process, errors))

    def collect(self) -> None:
        """Take leave of those that ended, and keep what the last of them complained about."""
        with self.lock:
            for process, errors in list(self.running):
                if process.poll() is not None:
                    self.running.remove((process, errors))
                    self._hear(process, errors)

    def await_end(self) -> None:
        """One whose connection is broken ends a moment later, having said why."""
        with self.lock:
            running = [process for process, _ in self.running]
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while running and all(process.poll() is None for process in running) and time.monotonic() < deadline:
            time.sleep(0.01)

    def end(self) -> None:
        with self.lock:
            while self.running:
                process, errors = self.running.pop()
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                self._hear(process, errors)

    def _hear(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        with errors:
            errors.seek(0)
            lines = errors.read(64 * 1024).decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        if process.returncode and said:
            self.said = said[-1]


class Dialler:
    """Opens connections to one engine. Thread-safe."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._parts = urlsplit(endpoint.address)
        self._ssh = _Ssh()
        # Also at the interpreter's end: no ssh outlives the process that started it.
        self._end = weakref.finalize(self, self._ssh.end)

    def call(self) -> socket.socket:
        """A connection for requests and their responses."""
        plain = self._plain()
        return plain if self.endpoint.tls is None else self._wrapped(plain)

    def stream(self) -> socket.socket:
        """A connection whose sending half can be closed (``shutdown(SHUT_WR)``) while the other goes on."""
        plain = self._plain()
        if self.endpoint.tls is None:
            return plain
        return tunnel(plain, self._context(), self._parts.hostname or "")

    def complaint(self, *, broken: bool) -> str:
        """The last thing that an ssh which failed said about why; empty otherwise. ``broken``: a connection was, just now."""
        if broken:
            self._ssh.await_end()
        self._ssh.collect()
        return self._ssh.said

    def close(self) -> None:
        """End what was started for the connections."""
        self._ssh.end()

    def _plain(self) -> socket.socket:
        if self._parts.scheme == "unix":
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                local.settimeout(_CONNECT_SECONDS)
                local.connect(self._parts.netloc + self._parts.path)
            except OSError:
                local.close()
                raise
            return local
        if self._parts.scheme == "tcp":
            return socket.create_connection((self._parts.hostname or "", self._parts.port or 0), _CONNECT_SECONDS)
        return self._over_ssh()

    def _over_ssh(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the program that writes it
        with theirs:
            try:
                # A session of its own: Ctrl-C is ours to handle, and lets running steps end first.
                process = subprocess.Popen(
                    _ssh_command(self._parts),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                errors.close()
                raise
        self._ssh.add(process, errors)
        return ours

    def _context(self) -> ssl.SSLContext:
        files = self.endpoint.tls
        assert files is not None  # noqa: S101 - both callers have looked
        context = ssl.create_default_context(cafile=os.fspath(files.ca) if files.ca else None)
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if files.certificate and files.key:
            # With a password of its own an encrypted key fails, instead of asking on the terminal in the middle of a plan.
            context.load_cert_chain(files.certificate, files.key, password="")
        return context

    def _wrapped(self, plain: socket.socket) -> ssl.SSLSocket:
        try:
            return self._context().wrap_socket(plain, server_hostname=self._parts.hostname)
        except OSError:
            plain.close()
            raise


def _ssh_command(parts: SplitResult) -> list[str]:
    """What the docker command line runs, too; user and port only where the address names them, so that ~/.ssh/config counts."""
    command = ["ssh", "-T", "-o", f"ConnectTimeout={_CONNECT_SECONDS:.0f}"]
    if parts.username:
        command += ["-l", parts.username]
    if parts.port:
        command += ["-p", str(parts.port)]
    remote = ["docker", "system", "dial-stdio"]
    if parts.path.strip("/"):
        remote[1:1] = ["--host", f"unix://{parts.path}"]
    return [*command, "--", parts.hostname or "", *remote]
