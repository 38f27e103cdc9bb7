"""Commands on one host as its root, over the connection that Ansible uses too: bytes in, bytes out, exit code. Used by all that streams.

The password of sudo goes through the command's input, and only when sudo asks. Nothing of it is in an argument or the environment.
"""

from __future__ import annotations

import os
import secrets
import select
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from paictl.drivers.ansible.hosts import Hosts, private
from paictl.drivers.ansible.troubles import not_reached
from paictl.engine.driver import RoomResult
from paictl.errors import PaictlError, Refused

__all__ = ["Shell", "on_each"]

# Twice what ssh takes to give up: it may have to ask for a password, too.
_BEGIN_SECONDS = 30.0
_CHUNK = 4096
_AT_ONCE = 10
_SSH_FAILED = 255
_MOST_COMPLAINT = 64 * 1024
# Prints what it finds behind a descriptor of paictl: a password on its way to ssh, which takes it from a program only.
_ASK = '#!/bin/sh\nexec cat "$PAICTL_ANSWER"\n'

_Answer = TypeVar("_Answer")


class Shell:
    """One host. Holds nothing open between two commands; the connection itself lives in ssh's own master."""

    def __init__(self, hosts: Hosts, name: str) -> None:
        self.name = name
        self._hosts = hosts
        self._login = hosts.logins[name]

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 30) -> RoomResult:
        """A command to its end, with ``stdin`` as all of its input.

        Raises ``Unreachable`` when the host is not reached or the way to it breaks, ``PaictlError`` when it takes longer.
        """
        mark = f"paictl-{secrets.token_hex(8)}-ended"
        # A lost connection and a command that ends with 255 look alike to ssh: the command's end is told by the host itself.
        script = '"$@"; code=$?; printf "%s %d" ' + mark + ' "$code" >&2; exit "$code"'
        with self.start(["sh", "-c", script, "sh", *argv]) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired as late:
                process.kill()
                raise PaictlError(
                    f"{argv[0]} on {self.name} did not end within {timeout:g} s",
                    help="Its connection was closed. What it had done by then stands.",
                ) from late
            except BaseException:
                process.kill()
                raise
        said, found, code = stderr.rpartition(mark.encode())
        if not found:
            raise self._broken(f"while {argv[0]} ran", stderr)
        return RoomResult(int(code), stdout, said)

    def start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """A command that has begun, as root; its three streams are the caller's, unbuffered, and so is its end."""
        mark = secrets.token_hex(8)
        prompt, ready = f"paictl-{mark}-password:", f"paictl-{mark}-ready"
        as_root = ["sh", "-c", f'printf "%s\\n" {ready} >&2; exec "$@"', "sh", *argv]
        command = as_root if self._root_already() else ["sudo", "-S", "-H", "-p", prompt, "--", *as_root]
        with self._answering() as environment:
            process = self._begin(command, environment)
            try:
                self._until_ready(process, prompt.encode(), f"{ready}\n".encode())
            except BaseException:
                process.kill()
                process.communicate()
                raise
        return process

    def open(self) -> None:
        """Have the connection stand that every later command goes through; raises ``Unreachable``."""
        if not self._login.local:
            self.run(["true"])

    def connect(self, authority: str, stream: int, complaints: int) -> subprocess.Popen[bytes]:
        """Tie a descriptor, such as a socket's, to ``HOST:PORT`` as the host sees it, until one of both ends."""
        if self._hosts.passwords(self.name, "login") is not None:
            self.open()  # what goes through here can't be asked for it
        words = self._hosts.ssh(self.name)
        argv = [words[0], f"-W{authority}", *words[1:]]
        return subprocess.Popen(argv, stdin=stream, stdout=stream, stderr=complaints, start_new_session=True)

    def _root_already(self) -> bool:
        return os.geteuid() == 0 if self._login.local else self._login.user == "root"

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        argv = command if self._login.local else [*self._hosts.ssh(self.name), shlex.join(command)]
        pipe = subprocess.PIPE
        # In a session of its own: a Ctrl-C is paictl's to answer, which first ends what it has begun.
        return subprocess.Popen(
            argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )

    @contextmanager
    def _answering(self) -> Iterator[dict[str, str]]:
        """The environment in which ssh gets the password of the login, where it has one: from memory, by a name in /proc."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_ASKPASS")}
        password = self._hosts.passwords(self.name, "login")
        if password is None:
            yield environment
            return
        script = private("ssh") / "answer"
        if not script.exists() or script.read_text(encoding="ascii") != _ASK:
            script.write_text(_ASK, encoding="ascii")
            script.chmod(0o700)
        answer = os.memfd_create("answer", os.MFD_CLOEXEC)
        try:
            os.write(answer, f"{password}\n".encode())
            told = {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}
            yield {**environment, **told, "PAICTL_ANSWER": f"/proc/{os.getpid()}/fd/{answer}"}
        finally:
            os.close(answer)

    def _until_ready(self, process: subprocess.Popen[bytes], prompt: bytes, ready: bytes) -> None:
        """Answer sudo when it asks, once; return with the command's own words untouched."""
        said, deadline, answered = b"", time.monotonic() + _BEGIN_SECONDS, False
        while not said.endswith(ready):
            letter = self._letter(process, deadline, said)
            if not letter:
                raise self._never_began(process, said)
            said += letter
            if len(said) > _MOST_COMPLAINT:
                said = said[-_CHUNK:]
            if said.endswith(prompt):
                self._answer(process, again=answered)
                said, answered = said.removesuffix(prompt), True
                deadline = time.monotonic() + _BEGIN_SECONDS  # a person may have been asked

    def _letter(self, process: subprocess.Popen[bytes], deadline: float, said: bytes) -> bytes:
        if process.stderr is None:
            return b""
        if not select.select([process.stderr], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise self._broken("before anything began", said or b"it did not answer in time")
        # One at a time: what comes after the mark is the command's.
        return os.read(process.stderr.fileno(), 1)

    def _answer(self, process: subprocess.Popen[bytes], *, again: bool) -> None:
        if again:
            raise Refused(
                f"sudo of {self.name} does not take the password",
                help="Check the one that the manifest names, or the one that you typed.",
            )
        password = self._hosts.passwords(self.name, "become") or self._hosts.passwords(self.name, "asked")
        if password is None:
            raise Refused(
                f"sudo of {self.name} asks for a password, and none is known",
                help="Name a secret with it, or let the user become root without one.",
            )
        if process.stdin is not None:
            with suppress(OSError):  # it ended meanwhile: what it says tells
                process.stdin.write(f"{password}\n".encode())

    def _never_began(self, process: subprocess.Popen[bytes], said: bytes) -> PaictlError:
        code = process.wait(_BEGIN_SECONDS)
        if code == _SSH_FAILED and not self._login.local:
            return self._broken("", said)
        why = _last_line(said) or f"it ended with {code}"
        return Refused(
            f"nothing can be run as root on {self.name}: {why}",
            help="The user that paictl logs in as has to be root, or one who may become root by sudo.",
        )

    def _broken(self, when: str, said: bytes) -> PaictlError:
        return not_reached(self._login, said.decode("utf-8", "replace"), when)


def on_each(hosts: Hosts, call: Callable[[Shell], _Answer]) -> tuple[dict[str, _Answer], dict[str, PaictlError]]:
    """Ask all hosts at the same time: what each answered, and why others did not; raises when nobody was reached."""

    def attempt(name: str) -> _Answer | PaictlError:
        try:
            return call(Shell(hosts, name))
        except PaictlError as error:
            return error

    names = sorted(hosts.logins)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(names, pool.map(attempt, names), strict=True))
    troubles = {name: one for name, one in found.items() if isinstance(one, PaictlError)}
    if len(troubles) == len(names):
        raise next(iter(troubles.values()))
    return {name: one for name, one in found.items() if not isinstance(one, PaictlError)}, troubles


def _last_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
