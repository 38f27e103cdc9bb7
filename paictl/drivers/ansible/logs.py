"""What a service wrote, from the journal of its host: the last lines, and those to come. Reads only."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress

from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.shell import Shell, on_each
from paictl.engine.driver import Scope
from paictl.errors import PaictlError, Unreachable

__all__ = ["absent", "tail", "unit_name"]

_CHUNK = 64 * 1024
_SECONDS = 60.0
# The journal is followed for as long as the line to us stands: with us ends the program there, too.
_FOLLOW = 'journalctl "$@" --follow & journal=$!; cat >/dev/null; kill "$journal"'


def unit_name(agent: str, service: str) -> str:
    """The unit that a service is."""
    return f"paictl-{agent}-{service}.service"


def absent(agent: str, service: str) -> PaictlError:
    """What is told when a service is on no host."""
    return PaictlError(f"{service} of {agent} is not running here", help="`paictl apply` starts it.")


def tail(hosts: Hosts, scope: Scope, service: str, tail: int, *, follow: bool) -> Iterator[str]:
    """The last ``tail`` lines of a service, and those to come when following; what systemd says about it is not its own word.

    Raises ``PaictlError`` when no host has such a service, ``Unreachable`` when one that may have it is away.
    """
    unit = unit_name(scope.agent, service)
    shell = Shell(hosts, _standing(hosts, scope, service))
    asked = [f"_SYSTEMD_UNIT={unit}", "--output=cat", "--quiet", "--no-pager", f"--lines={tail}"]
    if follow:
        return _following(shell, asked)
    if tail <= 0:
        return iter(())
    done = shell.run(["journalctl", *asked], timeout=_SECONDS)
    if done.code != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-400:]
        raise PaictlError(f"{shell.name}: the journal can't be read: {said}", help="See `journalctl --verify` there.")
    return iter([_text(line) for line in done.stdout.removesuffix(b"\n").split(b"\n") if done.stdout])


def _standing(hosts: Hosts, scope: Scope, service: str) -> str:
    """The host that has it."""
    unit = unit_name(scope.agent, service)

    def has(shell: Shell) -> bool:
        shown = shell.run(["systemctl", "show", "--property=LoadState", "--value", "--", unit])
        return shown.stdout.strip() not in {b"not-found", b""}

    found, away = on_each(hosts, has)
    for name, stands in found.items():
        if stands:
            return name
    for error in away.values():
        raise error
    raise absent(scope.agent, service)


def _following(shell: Shell, asked: list[str]) -> Generator[str]:
    process = shell.start(["sh", "-c", _FOLLOW, "sh", *asked])
    output, rest = process.stdout, b""
    try:
        while output is not None and (heard := os.read(output.fileno(), _CHUNK)):
            *lines, rest = (rest + heard).split(b"\n")
            yield from map(_text, lines)
        if rest:
            yield _text(rest)
        raise Unreachable(f"the connection to {shell.name} broke off", help="Ask for the log again.")
    finally:
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        process.terminate()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
