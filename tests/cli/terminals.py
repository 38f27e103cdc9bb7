"""A terminal that a test types on: a pseudo-terminal with a size, on which ``paictl`` runs in the foreground."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.conftest import PAICTL, World

_SECONDS = 60.0
# Colours, cursor movements, and what switches the terminal's modes.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """The person's end. ``shown`` is everything that came so far."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""
    _seen: int = field(default=0)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def see(self, text: str) -> str:
        """Wait until it comes, after what was seen before; returns everything in between."""
        deadline = time.monotonic() + _SECONDS
        while text not in self.shown[self._seen :]:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} did not come; this did: {self.shown[self._seen :]!r}")
        before = self._seen
        self._seen = self.shown.index(text, before) + len(text)
        return self.shown[before : self._seen]

    def end(self, seconds: float = _SECONDS) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(_SECONDS)

    @property
    def text(self) -> str:
        """What was shown, without escape sequences."""
        return _ESCAPES.sub("", self.shown).replace("\r\n", "\n")

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


def on_terminal(
    world: World, *args: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> AbstractContextManager[Terminal]:
    """Run ``paictl`` on a terminal of that width; whatever happens, it is gone at the end."""
    environment = world.environment(TERM="xterm-256color", **(env or {}))
    return opened([str(PAICTL), *args], world.folder, environment, columns=columns)


@contextmanager
def opened(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, columns: int) -> Iterator[Terminal]:
    """The same for any command."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def own_terminal() -> None:
        # Ctrl-C reaches the foreground of a session's own terminal only.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=environment,
        start_new_session=True,
        preexec_fn=own_terminal,  # noqa: PLW1509 - one ioctl, before any thread exists in the child
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
