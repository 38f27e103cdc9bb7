"""A local address for the gateway's port on its host: each connection goes through ssh's own, as a channel. Used by ``reach``.

The listener is ours, so that its port is taken from its first moment; what ssh is given is the connection itself.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paictl.drivers.ansible.shell import Shell
from paictl.errors import PaictlError

__all__ = ["forward", "token"]

_WAITING = 128
_END_SECONDS = 2.0


def token(shell: Shell, agent: str) -> str | None:
    """The owner's token, read from the host; None when there is none."""
    found = shell.run(["cat", f"/etc/paictl/{agent}/secrets/gateway-token"])
    return found.stdout.decode("ascii", "replace").strip() if found.code == 0 else None


@contextmanager
def forward(shell: Shell, authority: str, local: int = 0) -> Iterator[str]:
    """``http://127.0.0.1:LOCAL`` (0: a free one), which is ``authority`` (HOST:PORT) as its host sees it, while the block runs.

    Raises at once what every connection would come to, such as a host that is away or forbids it.
    """
    shell.open()
    _try(shell, authority)
    try:
        listener = socket.create_server(("127.0.0.1", local), backlog=_WAITING)
    except OSError as error:
        raise PaictlError(
            f"port {local} of this machine can't be used: {error.strerror}", help="Name another one, or none."
        ) from error
    with listener:
        stop, stopping = os.pipe()
        running: list[subprocess.Popen[bytes]] = []

        def accept() -> None:
            while stop not in select.select([listener.fileno(), stop], [], [])[0]:
                with suppress(OSError):
                    client, _ = listener.accept()
                    with client:
                        running[:] = [one for one in running if one.poll() is None]
                        running.append(shell.connect(authority, client.fileno(), subprocess.DEVNULL))

        accepting = threading.Thread(target=accept, name="ssh-forward", daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            os.close(stopping)
            accepting.join()
            os.close(stop)
            for one in running:
                one.terminate()
            for one in running:
                with suppress(subprocess.TimeoutExpired):
                    one.wait(_END_SECONDS)


def _try(shell: Shell, authority: str) -> None:
    """One connection, ended at once."""
    process = shell.connect(authority, subprocess.DEVNULL, subprocess.PIPE)
    _, said = process.communicate()
    if process.returncode != 0:
        why = said.decode("utf-8", "replace").strip().splitlines()
        raise PaictlError(
            f"{authority} on {shell.name} can't be reached through ssh: {why[-1] if why else 'it did not say why'}",
            help="`paictl status` tells whether the gateway runs; sshd there has to allow `AllowTcpForwarding local`.",
        )
